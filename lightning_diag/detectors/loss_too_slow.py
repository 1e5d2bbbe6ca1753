"""``loss/too-slow``: at half of the plan most of the loss is still there, and it falls no slower than at first."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors._trend import of_task, reference, several_classes
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import NEVER, Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

QUARTER, HALF = 0.25, 0.5  # of the plan
NEAR = 0.02  # of the plan after a quarter of it up to which the last loss is the quarter's
SOON = 0.2  # of the plan: a last loss before the quarter is there, even where a few are not finite
OVER = 0.6  # of the plan from which it is too late to judge: a run watched or resumed late
AT_CHANCE = 0.97  # from here on nothing was learned at all: loss/not-learning's
WARM = 0.1  # a rate whose peak comes later than this share of the plan is one long warm-up
FEW, NOISY = 6, 0.1  # samples a step below which batches are tiny; scatter of their losses over chance that is noise
SHORT_PLAN, SHORT = 300, 1.2  # steps of a plan below which the limits are raised: much of it is a slow start
FASTER, DONE = 2.0, 0.2  # pace of a run that got going late; what it may have left at the end, if it goes on like that
DECAYED = 0.2  # share of its peak below which the rate is meant to be small


class LossTooSlow(Detector):
    """A run that learns, but so slowly that its plan ends before it is done.

    Catches:
        A learning rate that is 3 to 30 times too low, or a start so small that the first half of the run is lost.

    Formula:
        ``R = (L - floor) / (chance - floor)`` of the training level and of the validation loss, each at a quarter and
        at half of the plan. Both R at half above ``limit`` (``numbers`` in a regression; ``language`` for a language
        model and for two classes, most of whose loss can't be learned) and below 0.97, and both fell in the second
        quarter by at least ``pace`` of what they fell in the first, from chance on. A healthy run has the steep part
        behind it by then. With fewer than 6 samples a step (three classes or more) R above ``limit`` is enough,
        whatever the pace, where the training losses of single steps scatter by more than a tenth of chance: the noise
        of the batches holds the loss up.

    Reads:
        ``loss/relative`` at every step, ``loss/level``, ``loss/val`` and ``accuracy/val`` after each validation pass,
        ``lr``.

    Args:
        limit: R at half of the plan from which it is high; higher = fires on fewer runs. Default 0.5 (the slowest
            healthy runs with classes seen so far had 0.36).
        numbers: the same for a regression. Default 0.8 (slowest healthy one 0.67).
        language: the same for a language model. Default 0.88 (slowest healthy one 0.79).
        pace: fall in the second quarter over the fall in the first; higher = fires on fewer runs. Default 0.6: an
            exponential approach that is half done has 0.7, one that is nearly done 0.1.
        min_steps: plans shorter than this are not judged: a short trial may well end early. Default 200; below
            300 steps a fifth more of the loss may be left.

    Fires when:
        once, a warning, at the first validation (or loss, where there is none) from half of the plan on.

    False alarms:
        A loss that falls in a straight line by nature. Not judged where chance isn't known, after a long warm-up, with
        a decayed learning rate or without a plan, nor where a classifier's loss is the squared error and
        validation is right on more than halfway from chance to all: such a loss falls when accuracy has long risen.
        Below 300 steps not where the second quarter brought more than twice as much as the first and two more like it
        would leave less than 0.2: such a run got going late. Measured: `docs/accuracy.md`.

    Cost:
        1 µs a step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=1000, chance_loss=2.3, task="classification", num_classes=10)
        >>> detector = LossTooSlow()
        >>> for step in range(1, 1001):
        ...     r = 1.0 - 0.0006 * step
        ...     try:
        ...         found = detector.update(Reading(step, 0, {"loss/relative": np.float64(r)}, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         break
        >>> step, str(found.severity), round(found.evidence["value"], 2)
        (500, 'warning', 0.7)

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, section 11.4.1: the learning rate first. Zhang et al.,
        AUTOTRAINER, ICSE 2021 (slow convergence).
    """

    rule: ClassVar[str] = "loss/too-slow"
    code: ClassVar[str] = "L008"
    reads: ClassVar[tuple[str, ...]] = ("loss/relative", "loss/val")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Too slow for the plan"
    resolve_after: ClassVar[int | None] = None

    def __init__(
        self, limit: float = 0.5, numbers: float = 0.8, language: float = 0.88, pace: float = 0.6,
        min_steps: int = 200,
    ) -> None:  # fmt: skip
        self.limit = number("limit", limit, 0, 1)
        self.numbers = number("numbers", numbers, 0, 1)
        self.language = number("language", language, 0, 1)
        self.pace = number("pace", pace, 0)
        self.min_steps = whole("min_steps", min_steps, 20)
        super().__init__()

    def _reset(self) -> None:
        self._rates = LrWatch()
        self._train = [math.nan, math.nan]  # R at a quarter, and now
        self._val = [math.nan, math.nan]
        self._accuracy = 0.0  # of the newest validation
        self._scatter = 0.0  # of single losses about their mean over the last quarter of the plan, over chance
        self._done = False
        self.rests_until = 0

    def update(self, reading: Reading) -> Finding | None:
        """Take in a loss; judge once, at half of the plan."""
        self._rates.see(reading)
        progress, planned = reading.progress, reading.facts.planned_steps
        if progress is None or not planned or planned < self.min_steps:
            self.rests_until = NEVER
            raise NotMeasurable(f"needs a plan of {self.min_steps} steps or more")
        if self._done or progress > OVER:
            self.rests_until = NEVER
            return None
        self._take(reading, progress)
        self._accuracy = reading.values.get("accuracy/val", self._accuracy)
        if progress < HALF:
            if not SOON <= progress <= QUARTER + NEAR:
                self.rests_until = int((SOON if progress < SOON else HALF) * planned)
            raise NotMeasurable("judged at half of the plan")
        if not math.isnan(self._val[0]) and reading.stage != "validation":
            return None
        self._done = True
        self._refuse(reading, planned)
        if self._right(reading):
            return None
        limit = of_task(reading, self.limit, self.numbers, self.language)
        if planned < SHORT_PLAN:
            limit = min(SHORT * limit, AT_CHANCE)
        curves = [self._train] if math.isnan(self._val[0]) else [self._train, self._val]
        if any(math.isnan(curve[0]) for curve in curves):
            raise NotMeasurable("not watched from the first quarter on")
        paces = [_pace(*curve) for curve in curves]
        now = min(curve[1] for curve in curves)
        samples = reading.facts.samples_a_step or FEW
        if samples < FEW and several_classes(reading.facts) and now > limit and self._scatter > NOISY:
            return self._noise(reading, limit, now, samples)
        if not (limit < now and self._train[1] < AT_CHANCE and min(paces) >= self.pace):
            return None
        late = planned < SHORT_PLAN and min(paces) > FASTER
        if late and any(half - 2 * (quarter - half) < DONE for quarter, half in curves):
            return None
        return self._finding(reading, limit, now, min(paces))

    def _take(self, reading: Reading, progress: float) -> None:
        values, unit = reading.values, reference(reading)
        if unit is None:
            return
        if progress >= HALF and len(reading.curve):
            steps = max(32, (reading.facts.planned_steps or 0) // 4)
            line = reading.curve.trend(steps)
            self._scatter = line.error * math.sqrt(line.steps) / unit.span
        if "loss/relative" in values:
            _note(self._train, unit.relative(float(values["loss/relative"]) * unit.chance), progress)
        if "loss/val" in values and unit.known:
            _note(self._val, unit.relative(float(values["loss/val"])), progress)

    def _right(self, reading: Reading) -> bool:
        """Whether squared errors hide that more than half of what accuracy can gain is there."""
        classes = reading.facts.num_classes or 1
        return reading.facts.loss_kind == "mse (one-hot)" and self._accuracy > 0.5 * (1 + 1 / classes)

    def _refuse(self, reading: Reading, planned: int) -> None:
        if reading.facts.chance_loss is None:
            raise NotMeasurable("the loss at chance isn't known")
        if self._rates.peak_step > max(self._rates.first_step, WARM * planned):
            raise NotMeasurable("the learning rate was warmed up for more than a tenth of the plan")
        if self._rates.decay < DECAYED:
            raise NotMeasurable("the learning rate has decayed already")

    def _noise(self, reading: Reading, limit: float, now: float, samples: int) -> Finding:
        return self.found(
            reading,
            Severity.WARNING,
            f"At half of the plan the loss still stands at {percent(now)} of chance (limit {percent(limit)}), and with "
            f"{samples} sample{'' if samples == 1 else 's'} a step it scatters by {percent(self._scatter)} of chance "
            f"from step to step (limit {percent(NOISY)}): the noise of so small batches holds it up.",
            evidence={"value": now, "limit": limit, "scatter": self._scatter, "samples": samples},
            advice=(
                "accumulate gradients over 8 batches for a tenth of the plan: if the loss falls further, it was noise",
                f"if memory or time don't allow that, take lr={self._rates.last / 8:.2g} (an eighth) and more steps",
            ),
        )

    def _finding(self, reading: Reading, limit: float, now: float, pace: float) -> Finding:
        rate = f"lr={3 * self._rates.last:.2g} (3 times as much)" if self._rates.last > 0 else "3 times the rate"
        return self.found(
            reading,
            Severity.WARNING,
            f"At half of the plan the loss still stands at {percent(now)} of chance (limit {percent(limit)}) and "
            f"{_fall(pace)}: the plan ends before it is done.",
            evidence={"value": now, "limit": limit, "pace": min(pace, 1e6), "lr": self._rates.last},
            advice=(
                f"repeat the first tenth with {rate}: if the loss falls faster without spikes, go on with it",
                "or stretch the plan and its schedule to twice the steps",
            ),
        )


def _note(curve: list[float], value: float, progress: float) -> None:
    """Keep the value of a quarter of the plan, and the newest."""
    if not math.isfinite(value):
        return
    if progress <= QUARTER + NEAR:
        curve[0] = value
    curve[1] = value


def _pace(quarter: float, half: float) -> float:
    """Fall in the second quarter over the fall in the first, from chance on; infinite where nothing fell at first."""
    first, second = max(1.0 - quarter, 0.0), min(quarter, 1.0) - half
    if second <= 0.01:
        return 0.0
    return second / first if first > 0 else math.inf


def _fall(pace: float) -> str:
    """How the fall of the second quarter compares, in words.

    >>> _fall(0.9), _fall(math.inf)
    ('fell by 0.9 times as much in the second quarter as in the first', 'did not fall in the first quarter')
    """
    if math.isinf(pace):
        return "did not fall in the first quarter"
    return f"fell by {pace:.3g} times as much in the second quarter as in the first"
