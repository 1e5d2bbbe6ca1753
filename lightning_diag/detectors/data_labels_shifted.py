"""``data/labels-shifted``: targets don't belong to their inputs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._data import other_domain, unseen
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

FEW = 20  # different training samples a class below which their mean may lie anywhere
TELLING = 0.05  # mean eta squared from which class means say enough of the inputs


class DataLabelsShifted(Detector):
    """Targets stand beside the wrong inputs: tokens shifted by 0 or 2 instead of 1, validation labels in another order.

    Catches:
        A causal model whose labels are shifted by the data set *and* by the loss, or by neither; validation labels
        from another file, another class order.

    Formula:
        tokens: share of targets equal to the input at the same place, or two places on, above ``match`` while the next
        input matches less. Classes: correlation of the classes' mean inputs on train with those on validation below
        ``agree``, where the classes differ in training (mean eta squared above 0.05) and have 20 different samples each
        (with fewer they differ so much by chance).

    Reads:
        ``data/shift_match`` at sampled steps; ``data/val_agreement data/class_r2 data/samples`` after a validation
        pass, beside ``domain/val_samples domain/train_samples``.

    Args:
        match: share of positions. Default 0.95.
        agree: correlation; lower = later. Default 0.3 (healthy: 0.9 and more with 20 samples a class).

    Fires when:
        critical where the loss itself compares a position with its own input (the loss function was recognized: no
        shift hides in the model), a warning for two places on and for validation.

    False alarms:
        Validation on another domain, whose classes look different; not judged where the domains are known and differ
        (``domains/gap`` does that).

    Cost:
        Three comparisons a sampled batch.

    Examples:
        >>> values = {"data/shift_match": np.array([0.02, 0.03, 1.0])}
        >>> found = DataLabelsShifted().update(Reading(1, 0, values))
        >>> str(found.severity), round(found.evidence["value"], 2)
        ('warning', 1.0)

    References:
        Hugging Face Transformers documentation, causal language modelling (labels are shifted inside the model).
    """

    rule: ClassVar[str] = "data/labels-shifted"
    code: ClassVar[str] = "I011"
    reads: ClassVar[tuple[str, ...]] = ("data/shift_match", "data/val_agreement")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Targets don't belong to their inputs"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, match: float = 0.95, agree: float = 0.3) -> None:
        self.match = number("match", match, 0.5, 1)
        self.agree = number("agree", agree, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._row = 0

    def update(self, reading: Reading) -> Finding | None:
        """Judge tokens, or a validation pass."""
        match, agreement = reading.vector("data/shift_match"), reading.scalar("data/val_agreement")
        if match is not None:
            return self._tokens(reading, match)
        shares = reading.vector("data/class_r2")
        if agreement is None or shares is None or not np.isfinite(agreement):
            raise NotMeasurable(
                unseen(
                    reading,
                    "data/class_r2",
                    "neither tokens with targets nor classes on train and validation have passed",
                )
            )
        if not np.isfinite(shares).any() or not np.nanmean(shares) > TELLING:
            raise NotMeasurable("the classes' mean inputs don't differ")
        different = reading.scalar("data/samples")
        if different is not None and different < FEW * (reading.facts.num_classes or 0):
            raise NotMeasurable(f"fewer than {FEW} different training samples a class")
        if other_domain(reading):
            raise NotMeasurable("validation is of another domain than training, in which classes may look different")
        self._row = self._row + 1 if agreement < self.agree else 0
        if self._row < 2:
            return None
        text = f"The classes' mean inputs on validation correlate by {agreement:.3g} with those on train"
        return self._finding(reading, Severity.WARNING, f"{text} (limit {self.agree:g})", agreement, self.agree)

    def _tokens(self, reading: Reading, match: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Finding | None:
        here, following, beyond = (float(m) for m in match)
        if beyond > self.match > following:
            text = f"{percent(beyond)} of the targets are the token two places on"
            return self._finding(reading, Severity.WARNING, text, beyond, self.match)
        own = str(reading.facts.loss_kind or "").startswith("cross-entropy")
        if here > self.match > following and own:
            text = f"{percent(here)} of the targets are the input at their own place: the model learns to copy"
            return self._finding(reading, Severity.CRITICAL, text, here, self.match)
        return None

    def _finding(self, reading: Reading, severity: Severity, text: str, value: float, limit: float) -> Finding:
        return self.found(
            reading,
            severity,
            f"{text} (limit {limit:g})." if "limit" not in text else f"{text}.",
            evidence={"value": value, "limit": limit},
            advice=(
                "print input and target of one sample side by side, as the loss sees them",
                "for validation: evaluate on the training set with the validation code; if that is bad too, the code "
                "is, else the labels",
            ),
        )
