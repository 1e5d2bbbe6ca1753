"""``data/near-leakage``: validation samples that hardly differ from training samples."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

DENSE = 2.0  # times the limit from which near twins are told although training samples have them among each other
UNSEEN = "no validation pass over inputs of numbers, after samples of the first epoch were sketched"


class DataNearLeakage(Detector):
    """Samples of the validation set are nearly the same as training samples, though not bit for bit.

    Catches:
        Pictures saved twice, cropped or brightened by a hair; frames of one film, windows of one recording, split by
        row.

    Formula:
        share of different validation samples with a training sample from whose sketch theirs differs in at most 3 of
        120 signs of random projections; above ``max(limit, 3 * n)`` with n the share of training samples that have such
        a twin in training.

    Reads:
        ``data/near_leaked_frac data/near_leaked_samples data/near_frac``, after the first validation pass.

    Args:
        limit: share of the validation samples; higher = later. Default 0.02: of different handwritten digits (8 x 8, as
            alike as inputs get) 0.15 % had a near other one by mistake among 1,300.
        least: samples that must be near. Default 5.

    Fires when:
        a warning above the limit; info above twice ``limit`` where training samples are as near to each other.

    False alarms:
        Low-dimensional inputs with millions of samples: every one has a neighbour, in training, too (info). Measured:
        `benchmarks/results/data_rules.md`.

    Cost:
        One small matrix product a hashed batch of the first epoch and the first validation pass; 65,536 sketches, 3 MB.

    Examples:
        >>> import numpy as np
        >>> values = {"data/near_leaked_frac": np.float64(0.05), "data/near_leaked_samples": np.float64(20),
        ...           "data/near_frac": np.float64(0.001)}
        >>> print(DataNearLeakage().update(Reading(47, 0, values, stage="validation")).severity)
        warning

    References:
        Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002. Barz & Denzler, Do we train on
        test data? Purging CIFAR of near-duplicates, J. Imaging 6, 2020 (arXiv:1902.00423).
    """

    rule: ClassVar[str] = "data/near-leakage"
    code: ClassVar[str] = "I012"
    reads: ClassVar[tuple[str, ...]] = ("data/near_leaked_frac",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Validation samples nearly in training"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 0.02, least: int = 5) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.least = whole("least", least, 1)
        super().__init__()

    def _reset(self) -> None:
        self._judged = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge the validation samples of the first pass."""
        share, count = reading.scalar("data/near_leaked_frac"), reading.scalar("data/near_leaked_samples") or 0.0
        if share is None:
            raise NotMeasurable(UNSEEN)
        own = reading.scalar("data/near_frac") or 0.0
        loud = share > max(self.limit, 3 * own)
        limit = max(self.limit, 3 * own) if loud else DENSE * self.limit
        if count < self.least or not share > limit:
            return None
        return self.found(
            reading,
            Severity.WARNING if loud else Severity.INFO,
            f"{percent(share)} of the validation samples ({count:.0f}) are nearly the same as a training sample (limit "
            f"{percent(limit)}; {percent(own)} of the training samples have such a twin).",
            evidence={"value": share, "limit": limit, "samples": count, "twins": own},
            advice=(
                "split by source (person, scene, document, recording), not by row, and compare the scores",
                "look at validation samples beside the training sample nearest to them",
            ),
        )
