"""``updates/too-large``: steps that throw the weights away from where they were."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._consequence import Consequence
from lightning_diag.detectors._growth import Growth
from lightning_diag.detectors._parameters import FLOOR, arrays, matrices, median, named, usual
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading, Value
from lightning_diag.streaming.sorted_window import SortedWindow

SPAN_STEPS = 30  # steps over which growth is taken
FIRST_STEPS = 3  # Adam's first steps have full size whatever the gradient
RATIO_SAMPLES = 10
LOSSES = 10  # losses before their median is a level
SOON_STEPS, SOON = 32, 1.05  # R above this so long after: the level (a median of 32 losses) holds only later losses
LATE_STEPS, LATE_FRAC = 100, 0.2  # no better than chance so long after; a short plan's share, at least
LEAST_STEPS = 50  # ... of these
EXPIRES_STEPS = 300  # a mechanism without consequence by then is forgotten
HEALED = 0.5  # R that shows that it did no harm ...
STRONG_HEALED = 0.2  # ... or this one after strong growth
MIDDLE = 0.45  # decades of growth (2.8 times) after which half of chance has to be left behind
BLOWN = 1.0  # decades of growth after which a run at chance never came back


class UpdateTooLarge(Detector):
    """Steps are so large that the weights leave their scale within a few steps, and the loss shows it.

    Catches:
        A learning rate far too high for the optimizer, the initialization or the batch size; no warm-up where one is
        needed.

    Formula:
        ``growth``: median over weight matrices of ``log10(|W_t| / max(|W_t-30|, floor))``, 30 *steps*, interpolated
        between samples (over less at the start); ``floor = numel^(1/4) / (2 sqrt(3))`` is half of what the default
        initialization gives a square matrix: smaller weights have to grow up to it (small initializations, LoRA's B,
        gates). ``u``: median over matrices above their floor of the update ratio, median of 10 samples, the first 3
        steps left out. Biases, norm gains and embeddings don't count.

    Reads:
        ``weight/parameter_norm update/parameter_ratio lr`` where sampled, ``loss/relative loss/level loss/best`` beside
        them.

    Args:
        growth: decades of growth in 30 steps; higher = only larger learning rates. Default 0.35 (2.2 times). Healthy
            trainings reach 0.41 (targets that are not scaled), learning rates 3 to 30 times the usual that do no harm
            0.6, most of those that do 0.7 and more.
        ratio: update ratio; higher = the same. Default 0.2; 1e-3 is usual, healthy trainings reach 0.07.
        strong: decades of growth after which R must fall below 0.2; higher = fewer warnings. Default 0.75 (5.6 times):
            no training that grew so much was as good as its healthy twin.
        worse: R (``loss/relative``) and loss over first loss at which a run is plainly worse than at its start; higher
            = fewer and later warnings. Default 1.2.
        stuck: R above which it is no better than chance 100 steps later; higher = fewer warnings. Default 0.95.

    Fires when:
        either is passed (info). It is remembered for 300 steps or until R (``loss/relative``; where chance isn't known
        at least the loss over the first one) falls below 0.5, and becomes a warning when meanwhile R and the loss over
        the first loss are above ``worse``, R is above 1.05 after 32 steps or above ``stuck`` (0.2 after ``strong``
        growth, 0.5 after growth by 0.45 where chance is known) after 100 (a fifth of a plan of less than 500, at least
        50), or the loss is far above its best. Critical
        when weights grew 10 times and R is above ``stuck`` so long after. Of several optimizers each is judged apart;
        where they follow losses of their own these say nothing, and ``strong`` growth alone is a warning.

    False alarms:
        No warning in any of the 165 healthy and harmless trainings of ``benchmarks/results/gradient_rules.md``; info
        in 12 (learning rates 3 to 30 times the usual that do no harm, targets that are not scaled). Non-finite weights
        are skipped.

    Cost:
        57 µs a reading of 1,000 parameters.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> names = {"parameter": ("a.weight", "b.weight")}
        >>> facts = Facts(chance_loss=2.3, names=names, parameter_kind=("matrix",) * 2, parameter_numel=(100, 100))
        >>> rng, detector = np.random.default_rng(0), UpdateTooLarge()
        >>> for step in range(1, 120):
        ...     w = np.array([5.0, 6.0]) * 1.05 ** min(step, 60) * rng.lognormal(0, 0.01, 2)
        ...     values = {"weight/parameter_norm": w, "update/parameter_ratio": np.array([0.05, 0.05])}
        ...     values |= {"loss/relative": np.float64(1.1), "loss/level": np.float64(2.5)}
        ...     finding = detector.update(Reading(step, 0, values, facts))
        ...     if finding is not None and step in (20, 60):
        ...         print(step, finding.severity, finding.first_step)
        20 info 18
        60 warning 18

    References:
        Wortsman et al., Small-scale proxies for large-scale transformer training instabilities, ICLR 2024
        (arXiv:2309.14322); You et al., LARS, 2017 (arXiv:1708.03888); Karpathy, CS231n notes, ratio of updates to
        weights (about 1e-3).
    """

    rule: ClassVar[str] = "updates/too-large"
    code: ClassVar[str] = "U001"
    reads: ClassVar[tuple[str, ...]] = ("weight/parameter_norm", "update/parameter_ratio")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Updates too large"
    by_optimizer: ClassVar[bool] = True

    def __init__(
        self, growth: float = 0.35, ratio: float = 0.2, strong: float = 0.75, worse: float = 1.2, stuck: float = 0.95
    ) -> None:
        self.growth = number("growth", growth, 0.01)
        self.ratio = number("ratio", ratio, 1e-4)
        self.strong = number("strong", strong, 0.01)
        self.worse = number("worse", worse, 0)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence()
        self._grown = Growth(SPAN_STEPS)
        self._ratios = SortedWindow(RATIO_SAMPLES)
        self._since = -1  # step at which a limit was first passed; -1 = not remembered
        self._last = -1  # ... and last
        self._peak = 0.0  # largest growth since then
        self._peak_ratio = 0.0
        self._where: list[str] = []

    def update(self, reading: Reading) -> Finding | None:
        """Judge how far the weights have moved."""
        run = self._run
        run.see(reading)
        (weight,) = arrays(reading, "weight/parameter_norm")
        layers = matrices(reading.facts)
        floor = _usual(reading, len(weight))[layers] * FLOOR
        growth = self._grown.see(reading.step, weight[layers], floor)
        middle, ratio = median(growth), self._ratio(reading, layers, weight[layers] > floor)
        if math.isnan(middle) and math.isnan(ratio):
            raise NotMeasurable("no weight matrix that didn't start at 0, or none that is finite")
        if middle > self.growth or ratio > self.ratio:
            self._remember(reading, layers, growth, middle, ratio)
        return self._judge(reading)

    def _ratio(self, reading: Reading, layers: NDArray[np.intp], counted: NDArray[np.bool_]) -> float:
        ratios = reading.vector("update/parameter_ratio")
        if ratios is not None and len(ratios) == len(reading.facts.parameter_kind) and self._run.watched > FIRST_STEPS:
            now = median(np.where(counted & np.isfinite(ratios[layers]), ratios[layers], np.nan))
            if not math.isnan(now):
                self._ratios.push(now)
        return self._ratios.median() if self._ratios.full else math.nan

    def _remember(self, reading: Reading, layers: NDArray[np.intp], growth: Value, middle: float, ratio: float) -> None:
        if self._since < 0:
            self._since, self._peak, self._peak_ratio = reading.step, 0.0, 0.0
        self._last = reading.step
        self._peak_ratio = max(self._peak_ratio, 0.0 if math.isnan(ratio) else ratio)
        if middle >= self._peak or not self._where:
            self._peak = max(self._peak, 0.0 if math.isnan(middle) else middle)
            order = np.argsort(np.where(np.isnan(growth), -np.inf, growth))[::-1]
            self._where = [named(reading, int(layers[i])) for i in order[:5] if growth[i] > self.growth]

    def _judge(self, reading: Reading) -> Finding | None:
        run = self._run
        if self._since < 0:
            return None
        age, now = reading.step - self._since, self._last == reading.step
        late = _late(reading.facts.planned_steps)
        if self._suffers(age, late):
            lost = self._peak > BLOWN and age >= late and run.above_start > self.stuck
            return self._finding(reading, Severity.CRITICAL if lost else Severity.WARNING)
        if reading.facts.competing and self._peak > self.strong:
            return self._finding(reading, Severity.WARNING)
        found = self._finding(reading, Severity.INFO) if now else None
        healed = STRONG_HEALED if self._peak > self.strong else HEALED
        if run.relative < healed or reading.step - self._last > EXPIRES_STEPS:
            self._since, self._where = -1, []
        return found

    def _suffers(self, age: int, late_steps: float) -> bool:
        run, relative = self._run, self._run.above_start
        worse = run.watched >= LOSSES and relative > self.worse and run.level > self.worse * run.first_loss
        soon = age >= SOON_STEPS and relative > SOON
        late = age >= late_steps and relative > self._left()
        return worse or soon or late or (age >= SOON_STEPS and run.diverging())

    def _left(self) -> float:
        """R that a run must have left behind after so much growth."""
        if self._peak > self.strong:
            return STRONG_HEALED
        return HEALED if self._peak > MIDDLE and self._run.known else self.stuck

    def _finding(self, reading: Reading, severity: Severity) -> Finding:
        run, lr = self._run, self._run.rates
        by_growth = self._peak > self.growth
        value, limit = (10**self._peak, 10**self.growth) if by_growth else (self._peak_ratio, self.ratio)
        what = "The weights grew" if by_growth else "Steps change the weights by"
        unit = f" times within {SPAN_STEPS} steps" if by_growth else " of their size"
        suffers = severity > Severity.INFO and run.above_start > 0
        loss = f", and the loss stands at {run.above_start:.3g} times its reference" if suffers else ""
        rate = f" at learning rate {lr.peak:.3g}" if lr.peak > 0 else ""
        factor = 10 if value < 10 * limit else 100
        lower = f"lr={lr.peak / factor:.2g}" if lr.peak > 0 else f"a learning rate {factor} times lower"
        return self.found(
            reading,
            severity,
            f"{what} {value:.3g}{unit} (median over weight matrices, limit {limit:.3g}), first at step {self._since}"
            f"{rate}{loss}.",
            where=self._where,
            evidence={
                "value": value,
                "limit": limit,
                **({"update_ratio": self._peak_ratio} if self._peak_ratio > 0 else {}),  # else it was never measured
                "relative_loss": run.above_start,
                "lr": lr.peak,
            },
            advice=(
                f"repeat the first 200 steps with {lower}",
                "if that learns but slowly, keep the learning rate and warm it up over the first 5 % of the run",
                "look at the inputs' scale: mean 0 and standard deviation 1 allow larger steps",
            ),
            step=self._since,
        )  # fmt: skip


def _late(planned_steps: int | None) -> float:
    """Steps after which a run should have got over it: those of a short plan are fewer.

    >>> _late(300), _late(None)
    (60.0, 100)
    """
    return min(LATE_STEPS, max(LEAST_STEPS, LATE_FRAC * planned_steps)) if planned_steps else LATE_STEPS


def _usual(reading: Reading, count: int) -> Value:
    """The default initialization's norms ``(P,)``; 0 where the parameters' sizes are not known."""
    numel = reading.facts.parameter_numel
    return usual(numel) if len(numel) == count else np.zeros(count)
