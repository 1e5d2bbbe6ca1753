"""What the rules over domains share: which domain is the one that counts, the error ladder, gaps with their error.

D domains, K classes. The ladder is train -> held-out source -> target (A. Ng, Machine Learning Yearning, 2018, chapters
40 to 43): the step from held-out source to target is what the change of domain costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._domain_choice import choose, listed, present
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Reading

Array = NDArray[np.float64]
SETTLE_STEPS = 80  # optimizer steps before anything is judged
LEAST = 20  # validation samples of a side
WINDOWS = 5  # validation passes whose training samples are kept
ENOUGH = (
    50  # training samples of a domain for a rate; older passes, when errors were higher, are only taken to reach it
)
SHARE = 0.05  # of the training samples from which the target counts as trained on


@dataclass(frozen=True)
class Rate:
    """A mean over samples.

    Attributes:
        mean: mean of errors (0 to 1) or losses.
        se: its standard error, never 0 for errors (one more success and failure are assumed).
        n: samples.
    """

    mean: float
    se: float
    n: float


@dataclass(frozen=True)
class Ladder:
    """Errors (or losses) of one validation pass, source against target.

    Attributes:
        target: name of the domain that counts.
        source: names of the others, joined.
        to: the target in validation.
        base: the source in validation; in training, where it is not held out.
        held_out: whether ``base`` is validation.
        excess: what the target loses from training to validation beyond what the source loses; None where the target
            is hardly trained on.
        measure: ``error`` or ``loss``.
    """

    target: str
    source: str
    to: Rate
    base: Rate
    held_out: bool
    excess: Rate | None
    measure: str

    @property
    def gap(self) -> float:
        """What the change of domain costs."""
        return self.to.mean - self.base.mean

    @property
    def se(self) -> float:
        """Standard error of the gap."""
        return math.hypot(self.to.se, self.base.se)

    def limit(self, effect: float, sigmas: float) -> float:
        """Gap that counts; twice the effect where the source is not held out, for its training error is too low."""
        return max(effect * (1 if self.held_out else 2), sigmas * self.se)

    def stands(self, effect: float, sigmas: float) -> bool:
        """Whether the gap is real and at least half of it not the target's own difficulty."""
        if not self.gap > self.limit(effect, sigmas):
            return False
        if self.excess is None:
            return True
        return self.excess.mean > max(effect, sigmas * self.excess.se, self.gap / 2)


class DomainDetector(Detector):
    """Base of the rules that read the ladder; keeps the training sums of the last passes, by domain."""

    reads: ClassVar[tuple[str, ...]] = ("domain/named",)

    def _reset(self) -> None:
        self._train: dict[str, list[list[float]]] = {}

    def ladder(self, reading: Reading) -> tuple[Ladder, int]:
        """Return the ladder of this pass and the target's index.

        Raises:
            NotMeasurable: with the reason.
        """
        names, val_n, train_n = present(reading)
        self._take(reading, names)
        train = np.array([self._recent(name) for name in names])
        if reading.step < SETTLE_STEPS:
            raise NotMeasurable(f"domains are judged after {SETTLE_STEPS} optimizer steps, saw {reading.step}")
        everything = np.maximum(train_n, self.trained(names))
        t = choose(names, val_n, everything, reading.facts.target_domain)
        val = reading.vector("domain/val_sums")
        if val is None or val_n[t] < LEAST:
            raise NotMeasurable(f"fewer than {LEAST} validation samples of {names[t]}")
        others = [i for i in range(len(names)) if i != t]
        start, measure = _measure(val[t], reading)
        held = val[others, start].sum() >= LEAST
        base = (val if held else train)[others, start : start + 3].sum(0)
        if base[0] < LEAST:
            raise NotMeasurable(f"fewer than {LEAST} samples of {listed(names, others)}, in validation as in training")
        smooth = measure == "error"
        to, source = rate(val[t, start : start + 3], smooth), rate(base, smooth)
        taught = everything[t] >= SHARE * everything.sum()
        excess = self._excess(to, source, train, t, others, held, start, smooth) if taught else None
        seen = [i for i in others if val_n[i] + everything[i] > 0]
        return Ladder(names[t], listed(names, seen), to, source, held, excess, measure), t

    def trained(self, names: tuple[str, ...]) -> Array:
        """Return the training samples of the last passes, ``(D,)``."""
        return np.array([sum(row[0] for row in self._train.get(name, [])) for name in names])

    def _take(self, reading: Reading, names: tuple[str, ...]) -> None:
        """Take in this pass's training sums."""
        fresh = reading.vector("domain/train_sums")
        for i, name in enumerate(names):
            row = [0.0] * 6 if fresh is None or i >= len(fresh) else fresh[i].tolist()
            self._train[name] = [*self._train.get(name, []), row][-WINDOWS:]

    def _recent(self, name: str) -> Array:
        """Training sums of the newest passes that hold enough samples together, ``(6,)``."""
        made = np.zeros(6)
        for row in reversed(self._train[name]):
            if max(made[0], made[3]) >= ENOUGH:
                break
            made += row
        return made

    @staticmethod
    def _excess(
        to: Rate, source: Rate, train: Array, t: int, others: list[int], held: bool, start: int, smooth: bool
    ) -> Rate | None:
        own = train[t, start : start + 3]
        if own[0] < ENOUGH:
            return None
        before = rate(own, smooth)
        lost, se = to.mean - before.mean, math.hypot(to.se, before.se)
        base = train[others, start : start + 3].sum(0)
        if held and base[0] >= LEAST:
            trained = rate(base, smooth)
            lost -= source.mean - trained.mean
            se = math.sqrt(se**2 + source.se**2 + trained.se**2)
        return Rate(lost, se, own[0])


def rate(sums: Array, smooth: bool = True) -> Rate:
    """Return the mean of ``[n, sum, sum of squares]`` and its standard error.

    ``smooth`` adds ``1 / (n + 2)`` to the variance: without a single error the standard error stays that of one success
    and one failure added (Agresti & Coull, The American Statistician 52, 1998).

    >>> r = rate(np.array([100.0, 4.0, 4.0]))
    >>> round(r.mean, 3), round(r.se, 4)
    (0.04, 0.0221)
    """
    n = float(sums[0])
    if n < 1:
        return Rate(math.nan, math.inf, n)
    mean = float(sums[1]) / n
    variance = max(float(sums[2]) / n - mean**2, 0.0) + (1 / (n + 2) if smooth else 0.0)
    return Rate(mean, math.sqrt(variance / max(n - 1, 1)), n)


def _measure(row: Array, reading: Reading) -> tuple[int, str]:
    """First column of the errors, or of the losses where there are no errors."""
    if row[0] > 0:
        return 0, "error"
    if row[3] > 0:
        return 3, "loss"
    raise NotMeasurable("neither errors nor losses of single samples are known")
