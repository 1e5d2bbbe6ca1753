"""``data/duplicates``: training samples stand in the set several times."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class DataDuplicates(Detector):
    """The same training samples pass several times within one epoch.

    Catches:
        Rows copied by a join, a folder listed twice. Also seen: a sampler that draws with replacement, on purpose.

    Formula:
        share of the rows whose content hash had passed before in the same epoch.

    Reads:
        ``data/duplicate_frac data/samples``.

    Args:
        limit: share of the rows; higher = later. Default 0.01.
        least: different samples that must have passed. Default 100.

    Fires when:
        info only: repeats waste time and weigh samples, but whether that is meant can't be seen.

    False alarms:
        An oversampled minority is told, as a note.

    Cost:
        None beyond the probe's.

    Examples:
        >>> import numpy as np
        >>> values = {"data/duplicate_frac": np.float64(0.05), "data/samples": np.float64(1000)}
        >>> print(DataDuplicates().update(Reading(47, 0, values)).severity)
        info

    References:
        Lee et al., Deduplicating training data makes language models better, ACL 2022 (arXiv:2107.06499).
    """

    rule: ClassVar[str] = "data/duplicates"
    code: ClassVar[str] = "I002"
    reads: ClassVar[tuple[str, ...]] = ("data/duplicate_frac",)
    severity: ClassVar[Severity] = Severity.INFO
    title: ClassVar[str] = "Training samples stand in the set several times"
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
        share, samples = reading.scalar("data/duplicate_frac"), reading.scalar("data/samples") or 0.0
        if share is None or samples < self.least:
            raise NotMeasurable(f"needs {self.least} different samples")
        if share <= self.limit:
            return None
        return self.found(
            reading,
            Severity.INFO,
            f"{percent(share)} of the training rows had passed before in the same epoch (limit {percent(self.limit)}).",
            evidence={"value": share, "limit": self.limit, "samples": samples},
            advice=("count equal rows in the training set; ignore this if the sampler draws with replacement",),
        )
