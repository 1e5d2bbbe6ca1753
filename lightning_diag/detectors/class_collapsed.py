"""``classes/collapsed``: the model predicts few of the classes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._classes import Array, Pass, counts
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

LATE = 0.5  # share of the plan after which a collapsed model is lost
EVEN = 2 / 3
NAMED = 5


class ClassCollapsed(Detector):
    """The model predicts one or few classes whatever the input.

    Catches:
        Constant predictors: dead networks, a learning rate that blew up, inputs that don't reach the head, a sampler
        that shows one class at a time.

    Formula:
        ``share`` = share of the most predicted class; ``H(predicted) / H(labels)``, entropies of the two histograms.

    Reads:
        ``class/support``, ``class/predicted``, ``class/right`` after each validation pass.

    Args:
        share: share of one class among the predictions above which they have collapsed. Higher = only the constant
            predictor. Default 0.9.
        entropy: ratio of entropies under which they have collapsed. Higher = sooner. Default 0.35; healthy classifiers
            stay above 0.9 once they learn, 0.69 under a curriculum of half the classes (measured on small trainings).
        evaluations: validation passes in a row. Higher = later, surer.

    Fires when:
        either holds and at least half of the classes with samples are never predicted rightly, ``evaluations`` times in
        a row, after 80 steps; warning, critical from half of the plan on.

    False alarms:
        Not judged where the labels' largest class has 2/3 of what the predictions' has: then the largest class is
        simply the largest.

    Cost:
        O(K) a validation pass.

    Examples:
        >>> detector = ClassCollapsed()
        >>> values = {"class/support": np.full(10, 30.0), "class/right": np.eye(10)[3] * 30,
        ...           "class/predicted": np.eye(10)[3] * 300}
        >>> for epoch in range(3):
        ...     found = detector.update(Reading(100 * (epoch + 1), epoch, values, stage="validation"))
        ...     print(epoch, found and found.where)
        0 None
        1 ('class 3',)
        2 ('class 3',)

    References:
        Wardat et al., DeepDiagnosis, ICSE 2022 (arXiv:2112.04036), which looks at activations; here at predictions.
    """

    rule: ClassVar[str] = "classes/collapsed"
    code: ClassVar[str] = "C002"
    reads: ClassVar[tuple[str, ...]] = ("class/support",)
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Few classes are predicted"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, share: float = 0.9, entropy: float = 0.35, evaluations: int = 2) -> None:
        self.share = number("share", share, 0.5, 1.0)
        self.entropy = number("entropy", entropy, 0.0, 1.0)
        self.evaluations = whole("evaluations", evaluations, 1)
        super().__init__()

    def _reset(self) -> None:
        self._row = 0

    def update(self, reading: Reading) -> Finding | None:
        """Judge one validation pass."""
        seen = counts(reading)
        predicted = seen.predicted / max(seen.predicted.sum(), 1.0)
        labels = seen.support / seen.support.sum()
        ratio = max(0.0, _entropy(predicted)) / max(_entropy(labels), 1e-12)  # -0.0 is no entropy
        top = float(predicted.max())
        even = float(labels.max()) < EVEN * top  # otherwise the largest class is simply the largest
        narrow = even and (top >= self.share or ratio < self.entropy)
        there = seen.support > 0
        lost = float(np.mean(seen.right[there] == 0)) >= 0.5 and int(there.sum()) > 1
        self._row = self._row + 1 if narrow and lost else 0
        if self._row < self.evaluations:
            return None
        return self._finding(reading, seen, predicted, ratio)

    def _finding(self, reading: Reading, seen: Pass, predicted: Array, ratio: float) -> Finding:
        order = [int(k) for k in np.argsort(-predicted) if predicted[k] >= 0.05]
        top = order[0]
        late = (reading.progress or 0.0) >= LATE
        share = seen.support[top] / seen.support.sum()
        return self.found(
            reading,
            Severity.CRITICAL if late else Severity.WARNING,
            f"{percent(float(predicted[top]))} of the validation samples are predicted as {seen.names[top]}, which "
            f"{percent(float(share))} of them are (limit {percent(self.share)} of one class, or an entropy under "
            f"{self.entropy:g} of the labels'; it is {ratio:.3g}).",
            where=[seen.names[k] for k in order[:NAMED]],
            evidence={"value": float(predicted[top]), "limit": self.share, "entropy_ratio": ratio,
                      "error": seen.total_error},
            advice=(
                "look at 20 inputs as the model gets them, and at its outputs for them: equal outputs mean the input "
                "is lost on the way (scale, dead layer), different ones that the decision is lost (labels, loss, "
                "sampler)",
                "repeat the first 200 steps with a tenth of the learning rate",
                "count the labels of 20 consecutive training batches: one class at a time means no shuffling",
            ),
        )  # fmt: skip


def _entropy(p: Array) -> float:
    inside = p[p > 0]
    return float(-(inside * np.log(inside)).sum())
