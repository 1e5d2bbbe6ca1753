"""``data/constant-feature``: inputs that are always the same."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import whole
from lightning_diag.detectors._data import CHANNELS, Doing, feature_names, unseen
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5


class DataConstantFeature(Detector):
    """A column or channel of the inputs has had the same value in every sample.

    Catches:
        A channel that was never filled, a column lost in a join, an image set that is black.

    Formula:
        smallest value equal to largest value, over all sampled batches. Left out are columns of flattened images that
        stay at the value most columns have as their smallest: background.

    Reads:
        ``data/feature_min data/feature_max data/feature_batches``, and the loss.

    Args:
        batches: sampled batches before it is judged; higher = later. Default 20.

    Fires when:
        info; a warning where *all* inputs are constant, or a channel is and the loss is stuck at chance.

    False alarms:
        None known at warning level.

    Cost:
        One pass over the batch's inputs at sampled steps.

    Examples:
        >>> detector = DataConstantFeature()
        >>> values = {"data/feature_min": np.array([0.0, 0.0, 7.0]), "data/feature_max": np.array([1.0, 1.0, 7.0])}
        >>> for step in (5, 10, 20, 40):
        ...     try:
        ...         found = detector.update(Reading(step, 0, {**values, "data/feature_batches": np.float64(step)}))
        ...     except NotMeasurable:
        ...         continue
        ...     break
        >>> step, str(found.severity), found.where
        (20, 'info', ('channel 2',))

    References:
        Breck et al., Data validation for machine learning, MLSys 2019.
    """

    rule: ClassVar[str] = "data/constant-feature"
    code: ClassVar[str] = "I007"
    reads: ClassVar[tuple[str, ...]] = ("data/feature_min", "data/feature_max")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Inputs that never change"
    refresh: ClassVar[bool] = True

    def __init__(self, batches: int = 20) -> None:
        self.batches = whole("batches", batches, 2)
        super().__init__()

    def _reset(self) -> None:
        self._doing = Doing()

    def update(self, reading: Reading) -> Finding | None:
        """Judge the inputs so far."""
        self._doing.see(reading)
        low, high = reading.vector("data/feature_min"), reading.vector("data/feature_max")
        if low is None or high is None:
            raise NotMeasurable(unseen(reading, "data/feature_mean"))
        seen = int(reading.scalar("data/feature_batches") or 0)
        if seen < self.batches:
            raise NotMeasurable(f"needs {self.batches} sampled batches")
        constant = _constant(low, high)
        if not constant.size:
            return None
        lost = constant.size == len(low) or (len(low) <= CHANNELS and self._doing.loss.stuck(0.97))
        names = feature_names(reading, constant[:NAMED], len(low))
        return self.found(
            reading,
            Severity.WARNING if lost else Severity.INFO,
            f"{names[0]} has been {float(low[constant[0]]):.4g} in all of {seen} sampled batches, and so have "
            f"{constant.size - 1} more of {len(low)} inputs been the same throughout (limit 0).",
            where=names,
            evidence={"value": float(constant.size), "limit": 0.0, "inputs": float(len(low))},
            advice=("print that input of ten samples where they are loaded, and after each transform",),
        )


def _constant(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of constant inputs, background pixels left out."""
    constant = low == high
    if len(low) > CHANNELS:
        values, counts = np.unique(low, return_counts=True)
        if counts.max() > 0.5 * len(low):
            constant &= low != values[counts.argmax()]
    return np.flatnonzero(constant)
