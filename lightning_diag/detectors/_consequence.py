"""Does the run suffer? The second gate of the rules over gradients and updates, at the sampled steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.reading import Facts, Reading
from lightning_diag.streaming.state import restore, snapshot

MIN_STEPS = 60  # a run this young hasn't had the time to fail ...
PLAN_FRAC = 0.02  # ... nor one that has done less than this share of its plan ...
MAX_STEPS = 1000  # ... but nobody should wait longer than this
SURE_STEPS = 30  # the first of these where healthy runs don't show the mechanism, and nothing at all was learned ...
AT_ONCE_STEPS = 12  # ... or these where a training with it can't learn
NOTHING = 0.985  # ... which is R above this (0.978 at most with harmless faults, 0.988 at least with harmful ones)
NO_PLAN_STEPS = 200  # the same where the plan is not known
WARM_FRAC = 0.25  # after its last rise to a new peak a learning rate gets this share of the run to show its effect
FIRST = 10  # losses before the first level is trusted
UNKNOWN_CHANCE = 0.97  # against its own first losses a good fine-tuning may gain little: only "nothing at all" counts
EARLY_SHARE = 0.2  # share of the elements untrained up to which a slow start is no sign of it
HALF = 0.5  # R above which a run that left most of itself untrained hasn't got over it
GAINED, SLOWED = 0.02, 0.25  # a plateau: R fell by this much, and now falls by less than this share of its average
HALF_TIMES = 3  # ... after so many times the steps it takes to be stuck
NO_PLAN_TIMES = 20  # horizon, in times of the steps done, where the plan is not known


class Consequence:
    """What the loss has to show so far: ``loss/relative`` (R), its trail, and where the learning rate stands.

    ``R`` is the level of the loss over the loss of the best constant predictor; where that isn't known over the first
    losses, which says less (``known`` is False). Where losses compete (a GAN) there is none, and nothing suffers.

    Args:
        sure: for a mechanism that no healthy run has shown, the steps (:data:`SURE_STEPS`, :data:`AT_ONCE_STEPS`) from
            which a run that has learned nothing at all counts as stuck; 0 = as for any other, 60.

    >>> import numpy as np
    >>> c, facts = Consequence(), Facts(planned_steps=1000, chance_loss=2.3)
    >>> for step in range(1, 101):
    ...     c.see(Reading(step, 0, {"loss/relative": np.float64(1.0 - step / 1e4)}, facts))
    >>> c.relative, c.stuck(0.9), round(c.projected(facts), 2)
    (0.99, True, 0.9)
    """

    def __init__(self, *, sure: int = 0) -> None:
        self.sure = sure
        self._reset()

    def _reset(self) -> None:
        self.first_step = -1
        self.step = -1
        self.relative = math.nan
        self.level = math.nan
        self.best = math.nan
        self.first_level = math.nan
        self.first_loss = math.nan
        self.known = False
        self.patience_steps = self.sooner_steps = NO_PLAN_STEPS
        self.trail: list[list[float]] = []  # [step, R], each step at least 5 % after the one before
        self.rates = LrWatch()

    def see(self, reading: Reading) -> None:
        """Take in the loss signals and learning rates of a reading, as far as it holds any."""
        if self.first_step < 0:
            self.first_step = reading.step
        self.step = reading.step
        self.rates.see(reading)
        self.known = reading.facts.chance_loss is not None
        planned = reading.facts.planned_steps
        self.patience_steps, self.sooner_steps = patience(planned), patience(planned, self.sure or MIN_STEPS)
        values = reading.values
        self.relative = _finite(values.get("loss/relative"))
        self.level = _finite(values.get("loss/level"))
        if math.isnan(self.first_loss):
            self.first_loss = self.level
        self.best = _finite(values.get("loss/best"))
        if math.isnan(self.first_level) and self.watched >= FIRST:
            self.first_level = self.level
        done = self.step - self.first_step
        due = not self.trail or done >= 1.05 * (self.trail[-1][0] - self.first_step)
        if due and self.watched >= FIRST and not math.isnan(self.relative):
            self.trail.append([self.step, self.relative])

    @property
    def watched(self) -> int:
        """Steps since the first reading."""
        return self.step - self.first_step + 1

    @property
    def unit(self) -> float:
        """The loss at which R is 1; NaN when not known."""
        return self.level / self.relative if self.relative > 0 else math.nan

    @property
    def above_start(self) -> float:
        """R; where chance isn't known at least the level over the very first loss, which no step has touched yet.

        (The first ten losses, R's other reference, are already too high when the weights are thrown out at once.)
        """
        if self.known or not self.first_loss > 0:
            return self.relative
        return max(self.relative, self.level / self.first_loss)

    @property
    def warming_up(self) -> bool:
        """Whether the learning rate rose to a new peak a short while ago (the first sample is no rise)."""
        return self.rates.peak_step > self.first_step and self.rates.rising(
            self.step, 1 + math.ceil(WARM_FRAC * self.watched)
        )

    @property
    def ripe(self) -> bool:
        """Whether the run had the time to show something."""
        return self.watched >= self.patience_steps and not self.warming_up

    def stuck(self, limit: float, *, early: bool = True) -> bool:
        """Whether the loss should be below ``limit`` times chance by now and isn't; ``early``: as soon as is sure."""
        if self.sure and early and not self.ripe:
            sooner = self.known and self.watched >= self.sooner_steps and not self.warming_up
            return sooner and self.relative > max(limit, NOTHING)
        return self.ripe and self.relative > (limit if self.known else max(limit, UNKNOWN_CHANCE))

    def untrained(self, stuck: float, share: float, large: float) -> bool:
        """Whether the run suffers from a ``share`` (0 to 1) of its elements not being trained.

        Stuck at chance, early on only with more than a fifth untrained; or no better than half of chance with more than
        ``large`` untrained. Without a known chance level both: a fine-tuning that gains little may well carry a head
        that is never called.
        """
        if not self.known:
            return share > large and self.stuck(stuck)
        late = self.ripe and self.watched >= HALF_TIMES * self.patience_steps
        return self.stuck(stuck, early=share > EARLY_SHARE) or (late and self.relative > HALF and share > large)

    def diverging(self) -> bool:
        """Whether the level is above its best by half of the gain, a quarter of the best and a tenth of chance."""
        least = max(0.5 * (self.first_level - self.best), 0.25 * self.best, 0.1 * self.unit)
        return self.level > self.best + least

    def in_words(self, suffers: bool) -> str:
        """The end of a finding's sentence: where the loss stands, if the run suffers; else nothing."""
        return f", and the loss stands at {self.relative:.3g} times its reference" if suffers else ""

    def projected(self, facts: Facts) -> float:
        """Return R at the planned end when it goes on as fast as on average so far, or as over the last half.

        The faster of the two counts. Without a plan the end is 20 times the steps done. NaN before there is a trail.
        """
        left = (facts.planned_steps - self.step) if facts.planned_steps else NO_PLAN_TIMES * self.watched
        return self.relative - max(self._falls()) * max(left, 0)

    def plateaued(self) -> bool:
        """Whether R has fallen by something, and over the last half far more slowly than on average."""
        average, recent = self._falls()
        return average * self.watched > GAINED and recent < SLOWED * average

    def _falls(self) -> tuple[float, float]:
        """How much R fell a step, since the first trusted level and over the last half; NaN before there are two."""
        if len(self.trail) < 2 or self.trail[-2][0] >= self.step:
            return math.nan, math.nan
        first, half = self.trail[0], self.trail[0]
        for entry in self.trail:
            if entry[0] - self.first_step <= 0.5 * (self.step - self.first_step):
                half = entry
        average, recent = ((r - self.relative) / (self.step - s) for s, r in (first, half))
        return average, recent

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self, skip=frozenset({"sure"}))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)


def patience(planned_steps: int | None, least: int = MIN_STEPS) -> int:
    """Steps before a loss that hasn't moved means something.

    >>> patience(200), patience(20_000), patience(10**6), patience(None)
    (60, 400, 1000, 200)
    """
    if not planned_steps:
        return NO_PLAN_STEPS
    return int(min(max(PLAN_FRAC * planned_steps, least), MAX_STEPS))


def _finite(value: Any) -> float:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan
