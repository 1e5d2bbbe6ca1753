"""``data/non-finite``: inputs hold NaN or infinite values."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._data import unseen
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5


class DataNonFinite(Detector):
    """A batch held NaN or infinite inputs.

    Catches:
        Division by a zero standard deviation, a missing value that nothing filled, a broken file.

    Formula:
        share of the batch's inputs that is not finite, above 0; at the first loss that isn't finite the search for its
        origin says whether an input was.

    Reads:
        ``data/nonfinite_frac`` at sampled steps, ``origin/input`` once, the loss.

    Fires when:
        critical where the loss of that step isn't finite either; info where it is: some models mask what is missing.

    False alarms:
        None known above info.

    Cost:
        One pass over the batch's inputs at sampled steps.

    Examples:
        >>> detector = DataNonFinite()
        >>> values = {"data/nonfinite_frac": np.float64(0.01), "loss/train": np.float64("nan")}
        >>> found = detector.update(Reading(7, 0, values, batch_idx=6))
        >>> str(found.severity), found.where
        ('critical', ('batch 6',))

    References:
        Breck et al., Data validation for machine learning, MLSys 2019.
    """

    rule: ClassVar[str] = "data/non-finite"
    code: ClassVar[str] = "I008"
    reads: ClassVar[tuple[str, ...]] = ("data/nonfinite_frac", "origin/input")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Inputs are not finite"
    resolve_after: ClassVar[int | None] = None

    def _reset(self) -> None:
        self._batches = 0

    def update(self, reading: Reading) -> Finding | None:
        """Judge the inputs of this step."""
        share, origin = reading.scalar("data/nonfinite_frac"), reading.vector("origin/input")
        if share is None and origin is None:
            raise NotMeasurable(unseen(reading, "data/nonfinite_frac"))
        bad = np.flatnonzero(origin) if origin is not None else np.empty(0, np.int64)
        if not bad.size and not (share or 0.0) > 0:
            return None
        self._batches += 1
        loss = reading.scalar("loss/train")
        lost = bad.size > 0 or (loss is not None and not math.isfinite(loss))
        names = reading.names("input")
        places = [names[int(i)] for i in bad[:NAMED] if int(i) < len(names)] or [f"batch {reading.batch_idx}"]
        what = f"{100 * share:.2g} % of the inputs" if share else "an input"
        return self.found(
            reading,
            Severity.CRITICAL if lost else Severity.INFO,
            f"In batch {reading.batch_idx} of epoch {reading.epoch} {what} is NaN or infinite (limit 0), "
            f"{'and so is its loss' if lost else 'but its loss is finite'}.",
            where=places,
            evidence={"value": share or 0.0, "limit": 0.0, "batch": float(reading.batch_idx)},
            advice=(
                "load the samples of the batch named and look for the first transform after which they aren't finite",
                "fill or drop missing values before training",
            ),
        )
