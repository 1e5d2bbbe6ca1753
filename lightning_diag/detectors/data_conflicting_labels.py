"""``data/conflicting-labels``: the same input comes with different labels."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

DISCRETE = 0.05  # share of repeats within an epoch from which equal inputs are no copies: coarse tables


class DataConflictingLabels(Detector):
    """The same input has passed with different labels.

    Catches:
        Labels that change from epoch to epoch (a target computed at random, a file that was changed meanwhile), and
        copies that were labelled differently.

    Formula:
        share of the different inputs (63-bit content hash) that came with more than one integer label.

    Reads:
        ``data/conflict_frac data/duplicate_frac data/samples``.

    Args:
        limit: share of the inputs; higher = later. Default 0.01.
        least: different samples that must have passed. Default 100.

    Fires when:
        a warning above the limit; info where more than 5 % of an epoch's rows repeat, because in a coarse table equal
        inputs with different labels are the nature of the data.

    False alarms:
        Labels drawn at random on purpose (label-flipping regularization).

    Cost:
        None beyond the probe's.

    Examples:
        >>> import numpy as np
        >>> values = {"data/conflict_frac": np.float64(0.05), "data/samples": np.float64(1000)}
        >>> print(DataConflictingLabels().update(Reading(47, 0, values)).severity)
        warning

    References:
        Northcutt et al., Pervasive label errors in test sets, NeurIPS 2021 (arXiv:2103.14749).
    """

    rule: ClassVar[str] = "data/conflicting-labels"
    code: ClassVar[str] = "I003"
    reads: ClassVar[tuple[str, ...]] = ("data/conflict_frac",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Same input, different labels"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 0.01, least: int = 100) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.least = whole("least", least, 1)
        super().__init__()

    def _reset(self) -> None:
        self._judged = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge the samples that have passed so far."""
        share, samples = reading.scalar("data/conflict_frac"), reading.scalar("data/samples") or 0.0
        if share is None or samples < self.least:
            raise NotMeasurable(f"needs {self.least} different samples")
        if share <= self.limit:
            return None
        repeats = reading.scalar("data/duplicate_frac") or 0.0
        return self.found(
            reading,
            Severity.INFO if repeats > DISCRETE else Severity.WARNING,
            f"{percent(share)} of {samples:.0f} training inputs came with more than one label "
            f"(limit {percent(self.limit)}; {percent(repeats)} of the rows of an epoch repeat).",
            evidence={"value": share, "limit": self.limit, "samples": samples, "repeats": repeats},
            advice=(
                "print input and label of ten samples in two successive epochs: if labels change, look at how they "
                "are made",
                "look at copies with different labels; keep the label most of them have",
            ),
        )
