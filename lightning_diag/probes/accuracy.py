"""Share of right predictions, on train and on validation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Probe, Scene, Values

MOMENTUM = 0.9  # of the running train accuracy, over sampled batches


class AccuracyProbe(Probe):
    """Accuracy where an integer target and class scores (or class predictions) are known; sums stay on the device.

    Targets outside ``[0, K)`` (an ``ignore_index``) don't count. Train: exponential mean over the sampled batches.
    Validation: exact over the pass, with the number of samples beside it.
    """

    kept = ("_running",)
    signals = ("accuracy/train", "accuracy/val", "val/samples")

    def attach(self, scene: Scene) -> dict[str, str]:
        self._running: Tensor | None = None
        self._fresh = False
        self._sums: Tensor | None = None
        return {}

    def observed(self, batch: Batch) -> None:
        counts = right_and_total(batch.observation)
        if counts is None:
            return
        share = counts[0] / counts[1].clamp_min(1)
        old = self._running
        self._running = share if old is None else torch.add((1 - MOMENTUM) * share, old, alpha=MOMENTUM)
        self._fresh = True

    def collect(self) -> Values:
        if not self._fresh or self._running is None:
            return []
        self._fresh = False
        return [("accuracy/train", self._running)]

    def validation_start(self) -> None:
        self._sums = None

    def validation_batch(self, batch: Batch) -> None:
        counts = right_and_total(batch.observation)
        if counts is not None:
            self._sums = counts if self._sums is None else self._sums + counts

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        sums, self._sums = self._sums, None
        if sums is None:
            return []
        return [("accuracy/val", sums[0] / sums[1].clamp_min(1)), ("val/samples", sums[1])]


def right_and_total(seen: Observation | None) -> Tensor | None:
    """Return ``(right, total)`` counts, shape ``(2,)`` float32, or None where there are no class predictions."""
    if seen is None or seen.target is None or seen.target.is_floating_point():
        return None
    target = seen.target
    if seen.logits is not None and seen.predicted is not None:
        right, valid = seen.right, seen.valid
    elif seen.preds is not None and seen.preds.shape == target.shape and not seen.preds.is_floating_point():
        valid = target >= 0
        right = (seen.preds == target) & valid
    else:
        return None
    return torch.stack([right, valid]).flatten(1).sum(1, dtype=torch.float32)
