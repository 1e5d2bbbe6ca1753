"""``classes/imbalanced``: the loss hardly sees some classes, and it shows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._classes import Array, Pass, counts, no_tokens, settled, wilson
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5
EARLY_STEPS = 50  # sooner than other class rules, as a single pass says nothing here
SHARE = 0.1  # of the plan before which rare classes are only not learned yet
DENSE = 2.0  # labels a sample from which each holds many (pixels): what is small in a picture isn't seldom seen
PASSES = 4  # in a row in which mildly rare classes must be missed: early on they are only learned later
FEW = 10  # different training samples a class has at least if it is its rarity, and not little data, that does harm
TIMES = 3.0  # as often as the others
ADVICE = (
    "add real or generated samples of these classes",
    "draw every class equally often (a weighted sampler) for one epoch and compare their recall",
    "weight the loss by the inverse class frequency, capped at 10",
)
SAMPLES = 20.0  # training samples a class must have had a fair chance of before its share is judged


class ClassImbalanced(Detector):
    """Some classes are seen far less often in training than others, and are recognized less.

    Catches:
        Long-tailed data without a sampler or weights, a sampler that lost a class.

    Formula:
        Ratio of the largest to the class's number of training samples as the loss sees them (after the sampler), and
        Wilson bounds (95 %) of its recall against the recall of the classes within half of the largest. Of classes that
        are ``mild`` times rarer the misses are pooled: the lower bound of their share against the upper bound of the
        frequent classes' share plus ``gap``.

    Reads:
        ``class/train_support`` (accumulated over the run), ``class/support``, ``class/right``; ``data/samples``, how
        many different ones there are.

    Args:
        ratio: largest over smallest above which the training is imbalanced; higher = only extreme tails. Default 10
            (Amazon SageMaker Debugger's ClassImbalance).
        recall: share of the frequent classes' recall under which a rare class suffers; higher = sooner. Default 0.5.
        support: validation samples a class needs. Default 10.
        mild: largest over smallest from which rarity can do harm; higher = only extreme tails. Default 4: a ratio of 5
            cost 5 to 8 points of accuracy, one of 3 nothing to speak of (digits, development set).
        gap: share of a rare class's samples that are missed beyond the frequent classes' misses; higher = only large
            harm. Default 0.05.

    Fires when:
        the ratio is exceeded: info; a warning when a rare class's recall is surely under the limit, twice in a row, or
        when classes that are ``mild`` times rarer are surely missed more often, four times in a row and at least three
        times as often (not with fewer than 10 different samples of one: then there is little data). The first stays
        info with fewer than 10 different samples a class on average, and where samples hold many labels each
        (segmentation): what is small in every picture is no rare sample, and ``classes/neglected`` says if it is never
        learned. Nothing is said before step 50 and a tenth of the plan, but passes before count towards those in a row.

    False alarms:
        Imbalance that is learned anyway stays info.

    Cost:
        O(K) a validation pass.

    Examples:
        >>> detector = ClassImbalanced()
        >>> train, right = np.array([500.0, 500.0, 20.0]), np.array([95.0, 95.0, 20.0])
        >>> for epoch in range(2):
        ...     values = {"class/support": np.full(3, 100.0), "class/right": right, "class/predicted": right,
        ...               "class/train_support": train}
        ...     found = detector.update(Reading(100 * (epoch + 1), epoch, values, stage="validation"))
        >>> str(found.severity), found.where
        ('warning', ('class 2',))

    References:
        Amazon SageMaker Debugger, list of built-in rules (ClassImbalance); Buda et al., A systematic study of the class
        imbalance problem, Neural Networks 106, 2018 (arXiv:1710.05381).
    """

    rule: ClassVar[str] = "classes/imbalanced"
    code: ClassVar[str] = "C005"
    reads: ClassVar[tuple[str, ...]] = ("class/support", "class/train_support", "data/samples")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Classes are out of balance"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 2

    def __init__(
        self, ratio: float = 10.0, recall: float = 0.5, support: int = 10, mild: float = 4.0, gap: float = 0.05
    ) -> None:
        self.ratio = number("ratio", ratio, 1.0)
        self.recall = number("recall", recall, 0.0, 1.0)
        self.support = whole("support", support, 1)
        self.mild = number("mild", mild, 1.0)
        self.gap = number("gap", gap, 0.0, 1.0)
        super().__init__()

    def _reset(self) -> None:
        self._train: list[float] = []
        self._row = 0
        self._different = np.inf  # training samples
        self._missed = 0  # passes in a row in which mildly rare classes were missed more often

    def update(self, reading: Reading) -> Finding | None:
        """Add training counts; judge after a validation pass."""
        different = reading.scalar("data/samples")
        if different is not None:
            self._different = different
        train = reading.vector("class/train_support")
        if train is not None:
            old = np.array(self._train) if len(self._train) == train.size else np.zeros(train.size)
            self._train = (old + train).tolist()
        no_tokens(reading)
        seen = counts(reading, early=True)
        total = np.array(self._train)
        if total.size != seen.support.size or total.sum() < SAMPLES * total.size:
            raise NotMeasurable(f"needs {SAMPLES:.0f} sampled training samples a class, saw {total.sum():.0f} in all")
        missed = self._mildly(reading, seen, total)
        rare = (total * self.ratio < total.max()) & (seen.support > 0)
        suffering = self._suffering(seen, total, rare)
        self._row = self._row + 1 if suffering.size else 0
        settled(reading, EARLY_STEPS)  # passes before count towards those in a row
        if reading.progress is not None and reading.progress < SHARE:
            raise NotMeasurable(f"rare classes are judged after {percent(SHARE)} of the plan: they are learned last")
        if not rare.any():
            return missed
        if missed is not None and self._row < 2:
            return missed
        return self._finding(reading, seen, total, suffering if self._row >= 2 else np.flatnonzero(rare))

    def _mildly(self, reading: Reading, seen: Pass, total: Array) -> Finding | None:
        """Judge classes that are several times rarer together: each has too few samples to say."""
        rare = (total * self.mild < total.max()) & (seen.support > 0)
        if not rare.any():
            self._missed = 0
            return None
        (misses, n), (others, m) = (_misses(seen, which) for which in (rare, _frequent(total)))
        low, high = float(wilson(misses, n)[0]), float(wilson(others, m)[1])
        enough = float(total[rare].min()) / total.sum() * self._different >= FEW  # else there is little data
        suffers = enough and n >= self.support and low > high + self.gap and misses * m >= TIMES * others * n
        self._missed = self._missed + 1 if suffers else 0
        if self._missed < PASSES or _dense(reading, total):
            return None
        order = sorted(np.flatnonzero(rare), key=lambda k: -float(seen.error[k]))
        ratio = float(total.max() / max(total[rare].max(), 1.0))
        return self.found(
            reading,
            Severity.WARNING,
            f"{len(order)} of {len(total)} classes have at least {ratio:.2g} times fewer training samples than the "
            f"largest (limit {self.mild:g}), and {percent(misses / n)} of their {n:.0f} validation samples are missed, "
            f"against {percent(others / m)} of the frequent classes'.",
            where=[seen.names[k] for k in order[:NAMED]],
            evidence={"value": ratio, "limit": self.mild, "missed": misses / n, "missed_others": others / m},
            advice=ADVICE,
        )

    def _suffering(self, seen: Pass, total: Array, rare: NDArray[np.bool_]) -> Array:
        frequent = _frequent(total)
        usual = float(seen.right[frequent].sum() / max(seen.support[frequent].sum(), 1.0))
        _, high = wilson(seen.right, seen.support)
        return np.flatnonzero(rare & (seen.support >= self.support) & (high < self.recall * usual)).astype(np.float64)

    def _finding(self, reading: Reading, seen: Pass, total: Array, places: np.ndarray[Any, Any]) -> Finding:
        order = sorted((int(k) for k in places), key=lambda k: total[k])
        k = order[0]
        ratio = float(total.max() / max(total[k], 1.0))
        recall = 1 - float(seen.error[k])
        little = self._different < FEW * total.size  # all are short of samples, some by chance
        return self.found(
            reading,
            Severity.WARNING if self._row >= 2 and not (little or _dense(reading, total)) else Severity.INFO,
            f"{seen.names[k]} has {percent(float(total[k] / total.sum()))} of the training samples, {ratio:.0f} times "
            f"fewer than the largest class (limit {self.ratio:g}), and {percent(recall)} of its {int(seen.support[k])} "
            "validation samples are recognized.",
            where=[seen.names[i] for i in order[:NAMED]],
            evidence={"value": ratio, "limit": self.ratio, "recall": recall, "samples": float(seen.support[k])},
            advice=ADVICE,
        )


def _dense(reading: Reading, total: Array) -> bool:
    """Whether samples hold many labels each, given how many of each class training has shown."""
    samples = reading.facts.samples_a_step
    return samples is not None and bool(total.sum() > DENSE * samples * reading.step)


def _frequent(total: Array) -> NDArray[np.bool_]:
    """Return which classes are seen at least half as often as the largest."""
    often: NDArray[np.bool_] = total >= 0.5 * total.max()
    return often


def _misses(seen: Pass, which: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the samples of these classes that were missed, and all of them."""
    n = float(seen.support[which].sum())
    return n - float(seen.right[which].sum()), n
