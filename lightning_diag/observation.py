"""What per-class and per-domain monitors need of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Observation:
    """Predictions and targets of one batch; every tensor is detached and stays on its device.

    Shapes: B samples, K classes, D extra dimensions (time, height x width).

    Args:
        target: ``(B,)`` or ``(B, *D)`` integers for classes, ``(B, K)`` 0/1 for multi-label, floats for regression.
        logits: ``(B, K)`` or ``(B, K, *D)`` (also ``(B, *D, K)``) scores before or after softmax.
        preds: predicted classes, shape of ``target``, instead of ``logits``; or predicted values in regression.
        sample_loss: ``(B,)`` loss per sample.
        domain: ``(B,)`` integer domain ids, or one name for the whole batch.
        sample_id: ``(B,)`` integer ids.
        guessed: set by the package where it found them by their shape alone.

    Raises:
        ValueError: neither logits, preds nor sample_loss is given.
    """

    target: Tensor | None = None
    logits: Tensor | None = None
    preds: Tensor | None = None
    sample_loss: Tensor | None = None
    domain: Tensor | str | None = None
    sample_id: Tensor | None = None
    guessed: bool = False

    def __post_init__(self) -> None:
        if self.logits is None and self.preds is None and self.sample_loss is None:
            raise ValueError("an Observation needs logits, preds or sample_loss")

    @cached_property
    def predicted(self) -> Tensor | None:
        """Predicted classes, shape of ``target``, from ``logits``; None where these are no class scores of a target.

        Worked out once for all who ask.
        """
        if self.logits is None or self.target is None or self.target.is_floating_point():
            return None
        return self.logits.argmax(1) if self.logits.ndim == self.target.ndim + 1 else None

    @cached_property
    def labels(self) -> Tensor:
        """Targets as int64 indices, those out of range moved into it, shape of ``target``; where there are classes."""
        assert self.target is not None and self.logits is not None
        return self.target.long().clamp(0, self.logits.shape[1] - 1)

    @cached_property
    def valid(self) -> Tensor:
        """Which targets are in range, shape of ``target``; where there are classes."""
        valid: Tensor = self.labels == self.target  # type: ignore[assignment]
        return valid

    @cached_property
    def right(self) -> Tensor:
        """Which predicted classes are the targets (one out of range is never right); where there are classes."""
        assert self.predicted is not None
        right: Tensor = self.predicted == self.target  # type: ignore[assignment]
        return right
