"""``setup/odd-initialization``: the first weights are far off any usual scheme, or all the same."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, SURE_STEPS, Consequence
from lightning_diag.detectors._parameters import named
from lightning_diag.detectors._trend import of_task, reference
from lightning_diag.detectors._way import Way
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading, Value

NAMED = 3
UNITS = 2  # units and inputs from which equal weights are a loss; matrices from which they are one of the network
ALIKE = 0.5  # share of the matrices
# R from which large weights are told at once: a harmless tenfold start had 1.6, and was at chance 30 steps on
HIGH = 2.0
SLOW = 0.15  # share of the plan after which healthy runs have left chance
# shares of a plan of 300 steps between which what is left of the loss tells that the weights were far too small, which
# is below a quarter of ``low`` (SIREN's are a third): classes (harmless: 0.69), numbers, language (harmless: 0.85)
BEHIND, GROWN_BY, OVER, LEAST_PLAN, FAR = 0.27, 0.3, 0.6, 300, 0.25
LEFT = (0.75, 0.3, math.inf)
# small weights that have grown so many times (harmless: 3.8), where no matrix goes so straight any more (harmless:
# 0.87), cost a good part of the plan where R was above the last of these at this share of it: in a long plan it isn't
GROWN, TURNED, START, AT_START = 4.5, 0.85, 0.05, (0.85, 0.25, 0.85)


class SetupOddInitialization(Detector):
    """The weight matrices start far larger or smaller than usual schemes make them, or each with all weights equal.

    Catches:
        A forgotten division by the fan-in, constant weights, an initialization applied twice.

    Formula:
        gain = root mean square weight times the square root of the fan-in, of each weight matrix at the first sampled
        step; the median outside ``[low, high]``. PyTorch's default gives 0.58, Glorot's and LeCun's 1, He's 1.41.
        And matrices of two units and two inputs or more whose weights are all equal: these units get equal gradients
        and stay one unit, however many they are.

    Reads:
        ``weight/parameter_norm weight/kurtosis`` once; after it ``loss/relative lr`` and how the weights move:
        ``weight/parameter_norm weight/distance update/parameter_ratio``.

    Args:
        low: smallest usual gain. Default 0.15.
        high: largest usual gain. Default 3.5.
        stuck: R (``loss/relative``) above which nothing has been learned; higher = fewer warnings. Default 0.95.
        small: gain below which a run that starts slowly is told, too; higher = more warnings. Default 0.3: healthy runs
            of the development set began with 0.4 to 1.5.

    Fires when:
        at the first step (info: pretrained and zero-initialized layers are odd on purpose); a warning when the loss
        still stands above ``stuck`` times chance after 2 % of the plan (60 to 1,000 steps; where weights are too large
        12 with R above 2, 30 with R above 0.985) with the learning rate up, where chance is known. Below ``small``
        nothing is said at first, and a warning when the loss still stands there after 0.15 of the plan. Below a quarter
        of ``low`` also a warning when between 0.27 and 0.6 of a plan of 300 steps or more R is above 0.75 (classes) or
        0.3 (numbers): weights that have to grow first lose a good part of the plan. And below ``low`` a warning when by
        0.3 of such a plan the weights have grown 4.5 times (median over weight matrices) and turned (no matrix is
        further from its start than 0.85 of the way it went) and R was above 0.85 (numbers: 0.25) at 0.05 of the plan:
        then it is known that they were too small, and that finding this out took more than the start. A warning at once
        where there are two such matrices or more and the weights are equal within at least half of them, or all 0 in
        all.

    False alarms:
        On the development set of the fault zoo the note came in none of 128 healthy and 1 of 93 benign runs, the
        warning in none; in 37 of 41 harmful runs whose weights were scaled by 3 and more (`docs/accuracy.md` has the
        report set). That small weights had to grow was told on 22 harmful runs of 11 tasks that nothing else had told
        in time, on none of 482 benign and 1,715 healthy ones (no healthy one began below ``low``); the limits were
        chosen on the same runs.

    Cost:
        Once a run.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(parameter_kind=("matrix",) * 2, parameter_numel=(4096, 4096), parameter_fan_in=(64, 64))
        >>> values = {"weight/parameter_norm": np.array([80.0, 80.0])}
        >>> found = SetupOddInitialization().update(Reading(1, 0, values, facts))
        >>> str(found.severity), found.evidence["value"]
        ('info', 10.0)

    References:
        Goodfellow, Bengio & Courville, Deep Learning, 2016, section 8.4 (initial weights have to break symmetry).
        Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010. He et
        al., Delving deep into rectifiers, ICCV 2015 (arXiv:1502.01852).
    """

    rule: ClassVar[str] = "setup/odd-initialization"
    code: ClassVar[str] = "Z005"
    reads: ClassVar[tuple[str, ...]] = ("weight/parameter_norm",)
    severity: ClassVar[Severity] = Severity.INFO
    title: ClassVar[str] = "Unusual first weights"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, low: float = 0.15, high: float = 3.5, stuck: float = 0.95, small: float = 0.3) -> None:
        self.low = number("low", low, 0, 1)
        self.high = number("high", high, 1)
        self.stuck = number("stuck", stuck, 0)
        self.small = number("small", small, 0)
        super().__init__()

    def _reset(self) -> None:
        self._looked = False
        self._odd: dict[str, Any] = {}  # the note, as it was said
        self._small: dict[str, Any] = {}  # a note that was not said: weights smaller than most
        self._run = Consequence(sure=AT_ONCE_STEPS)
        self._way = Way()
        self._start = math.nan  # R at 0.05 of the plan, unless the learning rate was warming up

    def update(self, reading: Reading) -> Finding | None:
        """Judge the first weights, then what becomes of a run that has odd ones."""
        self._run.see(reading)
        if not self._looked:
            self._way.see(reading)
            return self._look(reading)
        if self._small and (reading.progress or 0.0) >= SLOW and self._run.ripe:
            self._odd, self._small = (self._small if self._run.known and self._run.stuck(self.stuck) else {}), {}
        if not self._odd:
            return None
        note = Finding.from_dict(self._odd)
        run = self._run
        self._way.see(reading)
        gain = float(note.evidence["value"])
        large = gain > self.high  # small weights grow: such a run gets its time
        soon = large and (run.relative > HIGH or run.watched >= SURE_STEPS)
        stuck = run.stuck(self.stuck) and (soon or run.ripe)
        behind, grew = gain < FAR * self.low and self._behind(reading), gain < self.low and self._grew(reading)
        if note.severity == Severity.INFO and run.known and (stuck or behind or grew):
            more = f" After {run.watched} steps the loss stands at {run.relative:.3g} times chance"
            more += f", and the weights have grown {self._way.grown:.3g} times." if grew else "."
            note = dataclasses.replace(note, severity=Severity.WARNING, message=note.message + more)
            self._odd = note.to_dict()
        return dataclasses.replace(note, step=reading.step, epoch=reading.epoch)

    def _behind(self, reading: Reading) -> bool:
        """Whether more is left of the loss than where weights did not have to grow first."""
        unit, progress = reference(reading), reading.progress
        if unit is None or progress is None or (reading.facts.planned_steps or 0) < LEAST_PLAN or not self._run.ripe:
            return False
        left = unit.relative(self._run.relative * unit.chance)
        return BEHIND <= progress <= OVER and left > of_task(reading, *LEFT)

    def _grew(self, reading: Reading) -> bool:
        """Whether the weights had to grow first, and it took a good part of the plan."""
        unit, progress, run = reference(reading), reading.progress, self._run
        if unit is None or progress is None or (reading.facts.planned_steps or 0) < LEAST_PLAN or progress > GROWN_BY:
            return False
        if progress <= START and not run.warming_up:
            self._start = unit.relative(run.relative * unit.chance)
        turned = self._way.grown > GROWN and self._way.straightest < TURNED
        return turned and run.ripe and progress > START and self._start > of_task(reading, *AT_START)

    def _look(self, reading: Reading) -> Finding | None:
        norms, facts = reading.vector("weight/parameter_norm"), reading.facts
        fan_in, numel = np.array(facts.parameter_fan_in, float), np.array(facts.parameter_numel, float)
        if norms is None or len(norms) != len(fan_in) or len(norms) != len(numel):
            raise NotMeasurable("weights are not measured here")
        if reading.step > 1:
            raise NotMeasurable(f"watched from step {reading.step} on, and not from the first")
        self._looked = True
        matrices = [i for i, kind in enumerate(facts.parameter_kind) if kind == "matrix" and fan_in[i] > 0]
        if not matrices:
            return None
        alike = self._alike(reading, norms, [i for i in matrices if min(fan_in[i], numel[i] / fan_in[i]) >= UNITS])
        if alike is not None:
            self._odd = alike.to_dict()
            return alike
        gains = norms[matrices] / np.sqrt(numel[matrices]) * np.sqrt(fan_in[matrices])
        middle = float(np.median(gains))
        if max(self.low, self.small) <= middle <= self.high or not np.isfinite(middle):
            return None
        limit = self.high if middle > self.high else self.low if middle < self.low else self.small
        found = self.found(
            reading,
            Severity.INFO,
            f"The first weights are {middle:.3g} times one over the square root of their fan-in (median of "
            f"{len(matrices)} matrices; usual are {max(self.low, self.small):g} to {self.high:g}).",
            where=[named(reading, matrices[int(i)]) for i in np.argsort(gains)[:: 1 if middle < 1 else -1][:NAMED]],
            evidence={"value": middle, "limit": limit},
            advice=("train 50 steps with the layers' default initialization and compare",),
        )
        if self.low <= middle < self.small:
            self._small = found.to_dict()
            return None
        self._odd = found.to_dict()
        return found

    def _alike(self, reading: Reading, norms: Value, matrices: list[int]) -> Finding | None:
        """Judge whether each matrix has one value for all its weights."""
        kurtosis = reading.vector("weight/kurtosis")
        if kurtosis is None or len(kurtosis) != len(norms) or len(matrices) < UNITS:
            return None
        same = [i for i in matrices if kurtosis[i] == 0]
        zero = all(norms[i] == 0 for i in matrices)
        if not zero and len(same) < ALIKE * len(matrices):
            return None
        chosen = matrices if zero else same
        return self.found(
            reading,
            Severity.WARNING,
            f"In {len(chosen)} of {len(matrices)} weight matrices all weights {'are 0' if zero else 'are equal'} at "
            "the start: units with equal weights get equal gradients and never become different ones.",
            where=[named(reading, i) for i in chosen[:NAMED]],
            evidence={"value": float(len(chosen)), "limit": ALIKE * len(matrices)},
            advice=("draw these weights at random: leave out the constant, or call nn.init.kaiming_uniform_ on them",),
        )
