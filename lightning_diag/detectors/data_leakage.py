"""``data/leakage``: validation samples stand in the training set, too."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._classes import wilson
from lightning_diag.detectors._data import unseen
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

AUGMENTED = 0.9  # share of rows of later epochs that are new from which inputs count as augmented


class DataLeakage(Detector):
    """Samples of the validation set have passed in training: its score promises too much.

    Catches:
        A split after duplication, a split by row where rows belong together, the same folder read twice.

    Formula:
        share of the validation samples whose content hash (63 bits) has passed in training, those that training repeats
        within an epoch (blank images, common phrases) left out. Fires above ``max(limit, 3 * d)`` with d the share of
        repeats within training.

    Reads:
        ``data/leaked_frac data/leaked_samples data/duplicate_frac data/renewed_frac``.

    Args:
        limit: share of the validation samples; higher = later. Default 0.005: CIFAR-10's test set holds 3.3 %
            near-duplicates of its training set, most benchmarks far less exact ones.
        least: samples that must have leaked. Default 3.
        text: the same share for language models, up to which it is a note: texts repeat themselves. Default 0.15, for
            the lower Wilson bound (95 %) of the share: up to 14 % of common sets stand in them twice (Lee et al.), and
            one random split of 60,000 characters of code gave 9 %.

    Fires when:
        a warning whenever the share is exceeded (of a language model surely the larger one, else info): what the score
        is worth can't be seen in any curve.

    False alarms:
        Small discrete tables, where equal rows are no copies, if they hardly repeat within training. Overfitting one
        batch on purpose. Measured: `benchmarks/results/data_rules.md`.

    Cost:
        None beyond the probe's.

    Examples:
        >>> import numpy as np
        >>> detector = DataLeakage()
        >>> values = {"data/leaked_frac": np.float64(0.012), "data/leaked_samples": np.float64(12)}
        >>> print(detector.update(Reading(47, 0, values, stage="validation")).severity)
        warning

    References:
        Barz & Denzler, Do we train on test data? Purging CIFAR of near-duplicates, J. Imaging 6, 2020
        (arXiv:1902.00423). Kapoor & Narayanan, Leakage and the reproducibility crisis, Patterns 4, 2023. Lee et al.,
        Deduplicating training data makes language models better, ACL 2022 (arXiv:2107.06499).
    """

    rule: ClassVar[str] = "data/leakage"
    code: ClassVar[str] = "I001"
    reads: ClassVar[tuple[str, ...]] = ("data/leaked_frac", "data/duplicate_frac", "data/renewed_frac")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Validation samples in training"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 0.005, least: int = 3, text: float = 0.15) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.least = whole("least", least, 1)
        self.text = number("text", text, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._judged = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge the validation samples that have passed so far."""
        share, count = reading.scalar("data/leaked_frac"), reading.scalar("data/leaked_samples")
        if share is None or count is None:
            raise NotMeasurable(
                unseen(
                    reading,
                    "data/leaked_frac",
                    "no validation samples have passed yet, or they can't be told one by one",
                )
            )
        limit = max(self.limit, 3 * (reading.scalar("data/duplicate_frac") or 0.0))
        renewed = reading.scalar("data/renewed_frac")
        if share <= limit or count < self.least:
            if renewed is not None and renewed > AUGMENTED:
                raise NotMeasurable(f"inputs are augmented: {percent(renewed)} of a later epoch's samples are new")
            return None
        surely = float(wilson(count, count / share)[0])
        usual = reading.facts.task == "language-model" and surely <= self.text
        return self.found(
            reading,
            Severity.INFO if usual else Severity.WARNING,
            f"{percent(share)} of the validation samples ({count:.0f}) have passed in training, bit for bit "
            f"(limit {percent(limit)}).",
            where=reading.names("leaked"),
            evidence={"value": share, "limit": limit, "samples": count},
            advice=(
                "remove from the training set what stands in the validation set, and validate the last checkpoint on "
                "the rest alone: the difference is what leaked",
                "split by source (person, scene, document), not by row",
            ),
        )
