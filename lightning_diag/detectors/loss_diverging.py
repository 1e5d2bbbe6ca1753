"""``loss/diverging``: the training loss has left its best level for good."""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors._trend import labels_added, one_objective, reference
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.loss_trace import LossTrace

RECENT = (64, 512)  # losses of the present mean, at least and at most: all since it holds
CLEAR = 4.0  # standard errors of that mean, and again of the best one, which is the lowest of many
BLIND_LOST = 3.0  # ``lost`` where chance is not known: the loss against a contrastive queue rises from a low start
BOTTOMLESS = 100.0  # sizes of the first loss (at least 1) below zero at which a loss is being maximized
PATIENCE = 200  # steps to wait for a sample of the learning rate before judging without one


class LossDiverging(Detector):
    """The training loss has left its best level and stays up.

    Catches:
        A learning rate above the edge of stability, a flipped sign, weights that grow; a run that gets worse with every
        step it still costs.

    Formula:
        ``rise = max(share * (start - best), 0.25 |best|, 0.1 * chance)``; it holds at a step with ``level > best +
        rise`` (``level`` the median of 32 losses, ``best`` its lowest after the guard). After ``steps`` such steps in a
        row the means must say so too: the mean of the losses since then (the last 64 to 512), less 4 standard errors of
        it and 4 of a mean of 64, above the best mean of 64 successive losses by ``rise``. The median ignores single
        spikes, the mean ignores flips between the two modes of a tiny batch.

    Reads:
        ``loss/train loss/level`` (``loss/relative`` for the chance loss) at every step; ``lr`` where sampled.

    Args:
        share: part of all progress so far that must be lost; higher = later. Default 0.4: healthy curricula of the
            fault zoo, which go over to harder data unannounced, lose 0.3.
        steps: steps in a row, or 0.1 % of the plan where that is more; higher = later, quieter. Default 15.
        lost: level in units of the worse of start and chance from which, held for 100 steps (or 2 % of the plan), the
            run counts as lost; higher = critical later. Default 1.2; 3 times the start where chance isn't known
            (and then nothing below that counts before the loss has fallen by 30 %; where it fell below zero by more
            than the size of its start, as a policy gradient's surrogate does, it has to rise as far above zero).
        guard_steps: steps after the start (or 5 % of the plan where that is less, at least 20) and after a jump of the
            learning rate during which nothing is judged; higher = quieter. Default 50.

    Fires when:
        a warning while it holds, or when the level is below zero by 100 times the size of its start (a loss whose sign
        is flipped has no bottom); critical when it is ``lost``. After the learning rate more than doubled (a warm
        restart) or the loss of a guess rose by 3 % (a curriculum that adds classes) ``best`` starts anew. Not judged
        with several optimizers or manual optimization.

    False alarms:
        None in 352 simulated healthy runs of 200 to 20,000 steps (`benchmarks/results/false_alarms_loss.md`). Recall
        there: 27 of 30 divergences, the rest began too near the end of 200 steps; a loss that grows by 2.5 % a step is
        told after 94 steps. A step to harder data looks the same and resolves when the loss comes back.

    Cost:
        0.6 µs a step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> judge, rng = Judge([LossDiverging()]), np.random.default_rng(0)
        >>> for step in range(1, 601):
        ...     loss = 0.5 + 1.8 * np.exp(-step / 50) + 0.02 * max(0, step - 300)
        ...     loss *= np.exp(0.1 * rng.standard_normal())
        ...     for finding in judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}))):
        ...         print(step, finding.first_step, finding.severity)
        373 351 warning

    References:
        Cohen et al., Gradient descent typically occurs at the edge of stability, 2021 (arXiv:2103.00065): the loss is
        non-monotone there and still falls over long times, hence the large ``share``.
    """

    rule: ClassVar[str] = "loss/diverging"
    code: ClassVar[str] = "L002"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/level", "loss/relative", "lr")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Loss diverges"

    def __init__(self, share: float = 0.4, steps: int = 15, lost: float = 1.2, guard_steps: int = 50) -> None:
        self.share = number("share", share, 0.05, 1)
        self.steps = whole("steps", steps, 1)
        self.lost = number("lost", lost, 1)
        self.guard_steps = whole("guard_steps", guard_steps, 0)
        super().__init__()

    def _reset(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT[1])
        self._trace = LossTrace()
        self._rates = LrWatch()
        self._start = math.nan  # first level
        self._best = math.inf  # lowest level since the start or the last jump of the learning rate
        self._muted = -1  # last step of the guard
        self._restarted = False  # whether that guard follows a jump of the learning rate
        self._chance = 0.0  # highest loss of a guess so far
        self._row = 0  # losses in a row at which it held
        self._began = 0  # step of the first of them
        self._high = 0  # losses in a row at which the run counted as lost
        self._lost_at = 0  # step of the first of them

    def update(self, reading: Reading) -> Finding | None:
        """Compare the level with the best before it."""
        one_objective(reading)
        values = reading.values
        if "lr" in values:
            self._see_rate(reading)
        if (reading.facts.chance_loss or 0.0) > self._chance:
            self._see_labels(reading)
        if "loss/level" not in values or "loss/train" not in values:
            raise NotMeasurable("the loss is not finite")
        level, loss = float(values["loss/level"]), float(values["loss/train"])
        self._recent.append(loss)
        if len(self._recent) < 10:
            raise NotMeasurable("fewer than 10 losses were seen")
        if self._start != self._start:  # NaN: the first level
            self._start, self._muted = level, reading.step + self._guard(reading)
        if reading.step > self._muted or not self._restarted:
            self._trace.push(loss)
            self._best = min(self._best, level)
        if reading.step <= self._muted:
            raise NotMeasurable(f"muted until step {self._muted}: the start, or a jump of the learning rate")
        if level < -BOTTOMLESS * max(1.0, abs(self._start)):
            return self._bottomless(reading, level)
        if level <= self._best + 0.25 * abs(self._best) and level <= self._start:
            self._row = self._high = 0
            return None
        return self._above(reading, level)

    def _see_rate(self, reading: Reading) -> None:
        self._rates.see(reading)
        if self._rates.jump_step == reading.step:  # hotter: the old best is no measure
            self._restart(reading)

    def _see_labels(self, reading: Reading) -> None:
        if labels_added(reading.facts, self._chance) and reading.step > self._muted:  # nor is it then
            self._restart(reading)
        self._chance = max(reading.facts.chance_loss or 0.0, self._chance)

    def _restart(self, reading: Reading) -> None:
        if self._start == self._start:
            self._restarted, self._muted, self._best = True, reading.step + self._guard(reading), math.inf
            self._trace, self._row = LossTrace(), 0

    def _guard(self, reading: Reading) -> int:
        planned = reading.facts.planned_steps
        return min(self.guard_steps, max(20, planned // 20)) if planned else self.guard_steps

    def _above(self, reading: Reading, level: float) -> Finding | None:
        """A level well above the best: is it far enough, long enough, and in the mean as well?"""
        known = reference(reading)
        chance = known.chance if known else abs(self._start)
        sure = known is not None and known.known
        begun = max(self._start, chance) if sure else self._start
        ceiling = begun + (self.lost - 1 if sure else BLIND_LOST - 1) * chance
        rise = max(self.share * (self._start - self._best), 0.25 * abs(self._best), 0.1 * chance)
        limit = min(self._best + rise, ceiling)
        if not sure and self._best > 0.7 * self._start:
            limit = ceiling  # nothing was reached yet: some losses rise from a low start
        if not sure and self._best < -abs(self._start):
            limit = ceiling = max(self._start, 0.0) - self._best  # from about 0 down: a surrogate that goes back to 0
        self._high = self._high + 1 if level > ceiling else 0
        if self._high == 1:
            self._lost_at = reading.step
        if level <= limit:
            self._row = 0
            return None
        self._row += 1
        if self._row == 1:
            self._began = reading.step
        planned = reading.facts.planned_steps or 0
        if self._row < max(self.steps, planned // 1000) or not self._means_agree(limit):
            return None
        if self._rates.unknown_since(self._began - 1) and self._row < PATIENCE:
            raise NotMeasurable("waiting for a sample of the learning rate")
        lost = self._high >= max(100, planned // 50)
        return self._finding(reading, level, limit, ceiling if lost else None)

    def _bottomless(self, reading: Reading, level: float) -> Finding:
        limit = -BOTTOMLESS * max(1.0, abs(self._start))
        return self.found(
            reading,
            Severity.WARNING,
            f"The loss level is {level:.4g}, below {limit:.4g} and {BOTTOMLESS:g} times the size of its start "
            f"{self._start:.4g}: it falls without a bottom.",
            evidence={"value": level, "limit": limit, "best": self._best, "start": self._start},
            advice=(
                "check the sign of the loss: a negated cross-entropy or squared error falls like this while the "
                "metric gets worse",
                "look whether the validation metric improves with it; if so, the objective has no bottom: bound or "
                "normalize it",
            ),
        )

    def _means_agree(self, limit: float) -> bool:
        few = RECENT[0]
        recent = np.asarray(self._recent)[-max(few, self._row) :]
        error = float(np.std(np.diff(recent))) / math.sqrt(2)  # of one loss, whatever its course
        margin = CLEAR * error * (1 / math.sqrt(len(recent)) + 1 / math.sqrt(few))
        shift = max(0.0, self._trace.best(few) - self._best)  # means of a skewed loss lie above its medians
        return float(recent.mean()) - margin > limit + shift

    def _finding(self, reading: Reading, level: float, limit: float, lost: float | None) -> Finding:
        began = self._began
        worse = (
            ""
            if lost is None
            else f"; for {reading.step - self._lost_at + 1} steps it has been worse than {lost:.4g}, above its start"
        )
        return self.found(
            reading,
            Severity.WARNING if lost is None else Severity.CRITICAL,
            f"The loss level is {level:.4g}, above {limit:.4g} since step {began}, while its best was "
            f"{self._best:.4g}{worse}.",
            evidence={"value": level, "limit": limit, "best": self._best, "start": self._start, "since": began},
            advice=(
                f"go back to the last checkpoint before step {began} and train 200 steps with a third of the learning "
                "rate: if the loss falls again, the rate was too high",
                "if it rises from the very first steps at any rate, check the sign of the loss (maximized instead of "
                "minimized) and that `optimizer.zero_grad()` runs",
                "clip the gradient norm at its recorded median, and if the data changed at that step (a curriculum, "
                "a new epoch's shards), evaluate the loss on the old data",
            ),
            step=began,
        )
