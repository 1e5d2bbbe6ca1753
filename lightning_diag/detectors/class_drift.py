"""``classes/drift``: a class got worse while the others did not."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._class_training import ClassTraining
from lightning_diag.detectors._classes import (
    Array,
    Pass,
    beyond_binomial,
    counts,
    false_discovery,
    no_tokens,
    standardized,
    traded,
    upper_tail,
)
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

LAG = 2  # evaluations the reference stays behind: the one judged and the one that confirms
NAMED = 5  # classes listed
TRAINED, SURELY = 1.0, 2.5  # standard errors by which training errors of a class rose where it is no wobble, and no
# trade: labels changed from the middle of a run on gave 1.3 to 29, wobbling and trading healthy runs -4 to 1 (all zoo)
WARM = 3  # evaluations before the first judgement


class ClassDrift(Detector):
    """A class got worse on validation, beyond sampling noise and its own churn.

    Catches:
        Forgetting and silent trade-offs: the mean error falls or stands while one class loses. Dashboards show
        the mean.

    Formula:
        For class c at evaluation e, with ``p`` the mean error of the last two evaluations, each over ``n`` samples, and
        ``r`` a reference: the exponential mean (weight ``memory``) of its errors up to evaluation e - 2.
        ``z = (p - r - 0.25 / n) / sqrt((v (1 - v) / n + j^2) (1/2 + w))`` with ``v`` the pooled error (one success and
        one failure added), ``w`` the sum of the squared weights of the mean, and ``j`` the class's own churn: what the
        second differences of its errors (1.4826 median / sqrt 6) show beyond binomial noise. Evaluations are treated as
        independent; on a fixed validation set they are positively correlated, which makes the test conservative. Both
        evaluations must stand above ``r`` by the effect, so a drift is confirmed before it is told. Discoveries are
        controlled over classes by Benjamini and Hochberg at level ``alpha / (e (e + 1))``, whose sum over all
        evaluations is ``alpha``. The reference lags and is never the running best: testing against the best of many
        noisy evaluations fires on every healthy run.

    Reads:
        ``class/support``, ``class/right``, ``class/confusion`` after each validation pass; ``class/train_support``,
        ``class/train_right``.

    Args:
        alpha: false discovery rate over all classes and evaluations of a run. Higher = earlier, more false alarms.
        effect: smallest rise of the error rate (absolute); higher = only large losses. Also at least 4 churns.
        support: samples a class needs in each pass; fewer can't tell 20 % from chance moves. Higher = fewer
            classes judged.
        memory: weight of the past in the reference mean; higher = longer memory.
        trade: share of the lost samples that must go to one class that gained to call it a trade (info).
        learned: error, over that of a random guess, up to which something counts as learned; higher = more warnings.
            Default 0.35: planted drifts had 0.31 at most, a healthy run whose classes swing 0.38.

    Fires when:
        two evaluations in a row are worse. A warning where that is the class's own affair: it had been learned, the
        others had been, too, and held in both, no more than half of all classes are affected, and training errors of
        the class rose as well (by one standard error, two stretches between passes against the two before). Info
        otherwise (a model that goes to pieces, or has learned little, loses now this class and now that one), and when
        the class traded with one that it is confused with, unless training lost it surely. It stays while the error
        stands above half of the rise, against the reference of the first firing.

    False alarms:
        Simulated binomial runs without drift (10 and 1,000 classes, 30 evaluations, 100 samples a class, and ones with
        churn): see ``tests/detectors/test_class_drift.py``, which holds the bound of 5 in 100 runs.

    Cost:
        O(K) a validation pass.

    Examples:
        >>> import numpy as np
        >>> rng, drift = np.random.default_rng(0), ClassDrift()
        >>> for e in range(14):
        ...     error = np.where((np.arange(10) == 7) & (e >= 6), 0.19, 0.04)
        ...     n = np.full(10, 178.0)
        ...     right = n - rng.binomial(178, error)
        ...     values = {"class/support": n, "class/right": right, "class/predicted": right}
        ...     try:
        ...         found = drift.update(Reading(100 * (e + 1), e, values, stage="validation"))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         print(found.epoch, found.where)
        ...         break
        7 ('class 7',)

    References:
        Benjamini & Hochberg, Journal of the Royal Statistical Society B 57, 1995; Toneva et al., An empirical study of
        example forgetting, ICLR 2019 (arXiv:1812.05159).
    """

    rule: ClassVar[str] = "classes/drift"
    code: ClassVar[str] = "C001"
    reads: ClassVar[tuple[str, ...]] = ("class/support", "class/train_support")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "A class got worse"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(
        self, alpha: float = 0.05, effect: float = 0.05, support: int = 10, memory: float = 0.7, trade: float = 0.5,
        learned: float = 0.35,
    ) -> None:  # fmt: skip
        self.alpha = number("alpha", alpha, 1e-9, 0.5)
        self.effect = number("effect", effect, 0.0, 1.0)
        self.support = whole("support", support, 2)
        self.memory = number("memory", memory, 0.0, 0.999)
        self.trade = number("trade", trade, 0.0, 1.0)
        self.learned = number("learned", learned, 0.0, 1.0)
        super().__init__()

    def _reset(self) -> None:
        self._evaluations = 0
        self._recent: list[list[float]] = []  # errors of the last LAG evaluations, oldest first
        self._seconds: list[list[float]] = []  # absolute second differences of the errors, last 12
        self._mean: list[float] = []  # reference error per class
        self._weight = 1.0  # sum of the squared weights in that mean
        self._epoch = 0  # epoch of the evaluation before
        self._held: dict[str, dict[str, float]] = {}  # class index -> what it was before its drift, and since when
        self._sure = False  # whether any class is surely worse at this evaluation
        self._own = False  # ... was, at one before which the others held: what is left of a break-down is no drift
        self._broken = False  # whether the others did not hold at the evaluation before
        self._confusion: list[list[float]] = []  # confusion of the evaluation LAG before, as shares of each row
        self._past: list[list[list[float]]] = []
        self._training = ClassTraining()

    def update(self, reading: Reading) -> Finding | None:
        """Judge one validation pass."""
        no_tokens(reading)
        self._training.see(reading)
        if "class/support" in reading.values:
            self._training.close()
        seen = counts(reading)
        error = seen.error
        if self._mean and len(self._mean) != error.size:
            self._reset()
        self._evaluations += 1
        before, previous = np.array(self._mean), self._recent
        ready = len(previous) == LAG and self._evaluations > WARM and before.size > 0
        if ready:
            self._release(error)
            self._judge(seen, error, np.array(previous), before)
        self._remember(error, seen)
        self._epoch = reading.epoch
        if not ready:
            raise NotMeasurable(f"needs {WARM + 1} validation passes after the start, saw {self._evaluations}")
        if not self._held:
            self._own = self._broken = False
            return None
        return self._finding(reading, seen, error)

    def _judge(self, seen: Pass, error: Array, previous: Array, reference: Array) -> None:
        n, last, best = seen.support, previous[-1], np.fmin(previous[0], reference)
        churn = beyond_binomial(self._seconds[:-2], reference, n)  # the last two are judged
        z = standardized(0.5 * (error + last), reference, n, churn, 0.5 + self._weight)
        p = np.where(n >= self.support, upper_tail(z), 1.0)
        level = self.alpha / (self._evaluations * (self._evaluations + 1))
        rise = np.nan_to_num(np.minimum(error, last) - reference)
        large = rise > np.maximum(self.effect, 4 * churn)
        worse = np.flatnonzero(false_discovery(p, level) & large)
        self._sure = bool(worse.size)
        for k in worse:
            new = {"before": float(reference[k]), "epoch": float(self._epoch), "p": float(p[k]), "n": float(n[k])}
            new |= {"best": float(best[k]), "trade": float(traded(int(k), seen, self._confusion, self.trade))}
            self._held.setdefault(str(int(k)), new)

    def _release(self, error: Array) -> None:
        """Let go of classes that are back within half of their rise."""
        for key, held in list(self._held.items()):
            now = float(error[int(key)])
            if not now > held["before"] + 0.5 * self.effect:
                del self._held[key]

    def _remember(self, error: Array, seen: Pass) -> None:
        filled = np.where(np.isfinite(error), error, self._recent[-1] if self._recent else 0.0)
        if len(self._recent) == LAG:
            second = np.abs(np.array(self._recent[0]) - 2 * np.array(self._recent[1]) + filled)
            self._seconds = [*self._seconds, second.tolist()][-12:]
        self._recent.append(filled.tolist())
        if len(self._recent) > LAG:
            oldest, m = np.array(self._recent.pop(0)), self.memory
            if self._mean:
                oldest, self._weight = m * np.array(self._mean) + (1 - m) * oldest, m**2 * self._weight + (1 - m) ** 2
            self._mean = oldest.tolist()
        if seen.confusion is not None:
            self._past.append((seen.confusion / np.maximum(seen.support, 1)[:, None]).tolist())
            if len(self._past) > LAG:
                self._confusion = self._past.pop(0)

    def _finding(self, reading: Reading, seen: Pass, error: Array) -> Finding:
        order = sorted(self._held, key=lambda key: self._held[key]["before"] - float(error[int(key)]))
        worst = order[0]
        held, k = self._held[worst], int(worst)
        trades = all(self._held[key]["trade"] for key in order)
        mean, mean_before = seen.total_error, float(np.average(np.array(self._mean), weights=seen.support))
        moved = "fell" if mean < mean_before - 0.005 else "rose" if mean > mean_before + 0.02 else "held"
        others = f"; {len(order) - 1} more got worse" if len(order) > 1 else ""
        message = (
            f"{seen.names[k]}: error {percent(held['before'])} -> {percent(float(error[k]))} since epoch "
            f"{int(held['epoch'])} (n={int(held['n'])}, p={held['p']:.2g}) while the mean {moved} at "
            f"{percent(mean)}{others}."
        )
        evidence: dict[str, Any] = {
            "value": float(error[k]), "limit": held["before"] + self.effect, "before": held["before"],
            "samples": held["n"], "p": held["p"], "since_epoch": int(held["epoch"]), "mean_error": mean,
        }  # fmt: skip
        alone = self._alone(seen, held.get("best", held["before"]))
        self._own = self._own or (self._sure and alone and not self._broken)
        self._broken = not alone
        return self.found(
            reading,
            Severity.WARNING if self._own and alone and self._lost(trades) else Severity.INFO,
            message,
            where=[seen.names[int(key)] for key in order[:NAMED]],
            evidence=evidence,
            advice=self._advice(seen, k, trades),
        )

    def _alone(self, seen: Pass, before: float) -> bool:
        """Whether the loss is the classes' own: they had been learned, and the others are learned and hold."""
        own = np.array([int(key) for key in self._held])
        n, errors = np.delete(seen.support, own), (seen.error, np.array(self._mean))
        if len(own) > seen.support.size / 2 or not n.sum() > 0:
            return False
        now, past = (float(np.average(np.nan_to_num(np.delete(e, own)), weights=n)) for e in errors)
        limit = self.learned * (1 - 1 / seen.support.size)
        return max(before, now, past) <= limit and now <= past + self.effect

    def _lost(self, trades: bool) -> bool:
        """Whether training lost a class, too, as far as that is known: what wobbles on validation alone is no drift."""
        for key, held in self._held.items():
            held["rise"] = float(np.fmax(self._training.rise(int(key)), held.get("rise", math.nan)))
        rises = [held["rise"] for held in self._held.values()]
        return any(rise >= SURELY if trades else not rise < TRAINED for rise in rises)  # NaN: nobody knows

    @staticmethod
    def _advice(seen: Pass, k: int, trades: bool) -> tuple[str, ...]:
        name = seen.names[k]
        if trades:
            return (f"look at the samples {name} lost: their labels may be ambiguous with the class that gained them",)
        return (
            f"look at the validation samples of {name} that flipped since then, and at what changed in the data around "
            "it (sampler, augmentation, newly added or relabelled samples)",
            f"train from the last checkpoint before it with the samples of {name} drawn twice as often",
            "lower the learning rate from that checkpoint on: if the class holds, the steps were too large for it",
        )
