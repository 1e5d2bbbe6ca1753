"""``loss/bad-start``: the first training loss is far above what guessing costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median, stdev
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._even import even
from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors._trend import TrendDetector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

REGRESSION = 2.5  # least ``limit`` there: the variance of an untrained output adds to that of the target
STILL = 1.05  # level over chance above which it is still above: the level itself is noisy
BLIND_STEPS = 200  # ``late_frac`` where the plan is not known


class LossBadStart(TrendDetector):
    """The first training loss is far above what guessing costs.

    Catches:
        An initial scale (of head, inputs or targets) that makes the model sure of nonsense; a loss that is summed where
        a mean is meant. A start *below* chance is what pretrained weights look like and is never reported.

    Formula:
        ``L0 / chance > limit`` with ``L0`` the smaller of the first loss and the median of the first three: the first
        alone may be one odd batch, the others have been moved by a learning rate that is too high. ``limit`` is raised
        by 2 standard deviations of one log loss, taken from the differences of the first ``settle_steps`` losses.

    Reads:
        ``loss/train loss/level`` at every step, ``lr`` where sampled; the facts chance_loss (must be known) and
        planned_steps.

    Args:
        limit: ratio from which the start is worth a note; higher = fires on fewer runs. Default 1.5: healthy
            classifiers began at 0.97 to 1.21; at least 2.5 for a regression, as the variance of an untrained output
            adds to that of the target, and ``1 + 1 / chance`` for squared errors of one-hot targets, whose variance is
            small against that of usual outputs (``bad`` as well). With unequal classes both are times what an even
            guess, an untrained network's, costs over the best constant one.
        bad: ratio from which it can be a warning; higher = fewer warnings. Default 3. A head initialized 30 times too
            large does no harm under Adam, so the ratio alone is never one.
        settle_steps: steps to wait for the noise and for an estimate of the chance loss; higher = later. Default 20.
        late_frac: share of the plan at which the loss must be below chance; higher = more patient. Default 0.05.

    Fires when:
        info from ``settle_steps`` on while the level is above chance (once if it is below by then); a warning from
        ``late_frac`` on if ``L0 / chance > bad``, the level is still above chance and the learning rate has not risen
        for ``settle_steps`` (in a warm-up a start lasts longer). Not judged where chance isn't
        known, in a run that is watched from a later step on, with several optimizers or manual optimization.

    False alarms:
        Of 352 simulated healthy runs of 200 to 20,000 steps, 1 got a note, none a warning
        (`benchmarks/results/false_alarms_loss.md`). Recall there: 10 of 10.

    Cost:
        1.2 µs a step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> from lightning_diag.reading import Facts
        >>> judge, rng = Judge([LossBadStart()]), np.random.default_rng(0)
        >>> facts = Facts(planned_steps=1000, chance_loss=2.30)
        >>> for step in range(1, 400):
        ...     loss = (2.0 + 20.0 * np.exp(-step / 60)) * np.exp(0.1 * rng.standard_normal())
        ...     for finding in judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}, facts))):
        ...         print(step, finding.severity, finding.status)
        21 info open
        51 warning worsening
        261 warning resolved

    References:
        Karpathy, A recipe for training neural networks, 2019: verify the loss at initialization. Zhang et al., Fixup,
        2019 (arXiv:1901.09321), on what an initial scale does.
    """

    rule: ClassVar[str] = "loss/bad-start"
    code: ClassVar[str] = "L007"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/level")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "First loss far above chance"
    resolve_after: ClassVar[int | None] = 3
    chance_error: ClassVar[float] = 0.2  # the limits are far above it

    def __init__(self, limit: float = 1.5, bad: float = 3.0, settle_steps: int = 20, late_frac: float = 0.05) -> None:
        self.limit = number("limit", limit, 1)
        self.bad = number("bad", bad, limit)
        self.settle_steps = whole("settle_steps", settle_steps, 3)
        self.late_frac = number("late_frac", late_frac, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._first: list[float] = []
        self._told = False
        self._rates = LrWatch()

    def update(self, reading: Reading) -> Finding | None:
        """Keep the first losses; judge them once the chance loss has settled."""
        self.take(reading)
        return super().update(reading)

    def take(self, reading: Reading) -> None:
        """Keep the first losses and the learning rate."""
        self._rates.see(reading)
        if len(self._first) < self.settle_steps:
            loss = reading.scalar("loss/train")
            if loss is not None and math.isfinite(loss):
                self._first.append(loss)

    def _look(self, reading: Reading) -> Finding | None:
        chance, planned = reading.facts.chance_loss, reading.facts.planned_steps
        if self._since > 1:
            raise NotMeasurable(f"watched from step {self._since} on: the first loss was not seen")
        if reading.step < self.settle_steps:
            raise NotMeasurable(f"needs {self.settle_steps} steps")
        if chance is None or chance <= 0:
            raise NotMeasurable("the chance loss is not known")
        self._settled(reading)
        first = min(self._first[0], median(self._first[:3]))
        ratio, now = first / chance, float(reading.values["loss/level"]) / chance
        above = now > STILL
        limit, bad = self._limits(reading.facts, chance)
        if ratio <= limit * math.exp(2 * noise_of(self._first)) or (self._told and not above):
            return None
        self._told = True
        late = reading.step >= (self.late_frac * planned if planned else BLIND_STEPS)
        stays = late and above and not self._warming(reading.step)
        severity = Severity.WARNING if ratio > bad and stays else Severity.INFO
        return self._finding(reading, first, ratio, limit, now, severity)

    def _warming(self, step: int) -> bool:
        """Whether the learning rate rose lately, or was still rising when it was sampled last."""
        rates = self._rates
        return rates.rising(step, self.settle_steps) or rates.seen_step == rates.peak_step > rates.first_step

    def _limits(self, facts: Facts, chance: float) -> tuple[float, float]:
        """Ratios for a note and for a warning."""
        if facts.loss_kind == "mse (one-hot)":  # outputs of unit variance, the usual size, add 1 to a chance below 0.25
            usual = 1 + 1 / chance
            return max(self.limit, usual), max(self.bad, usual)
        uneven = even(facts)  # rare classes: an even guess costs more
        if uneven > 1:
            return self.limit * uneven, self.bad * uneven
        return (max(self.limit, REGRESSION) if facts.task == "regression" else self.limit), self.bad

    def _finding(
        self, reading: Reading, first: float, ratio: float, limit: float, now: float, severity: Severity
    ) -> Finding:
        since = (
            f"and after {reading.step} steps it is still at {now:.3g} times"
            if now > STILL
            else "and fell below it since"
        )
        return self.found(
            reading,
            severity,
            f"The first loss was {first:.4g}, {ratio:.3g} times the {first / ratio:.4g} that guessing costs (limit "
            f"{limit:g}), {since}.",
            evidence={"value": ratio, "limit": limit, "first_loss": first, "relative_now": now},
            advice=(
                "print mean and standard deviation of inputs, targets and outputs at the first batch: inputs and "
                "targets should have unit scale, the outputs a scale of 1 or less",
                "check that the loss is a mean over samples and not a sum",
                "initialize the last layer with a tenth of its scale, or with zeros and its bias at the label "
                "frequencies, and look at the first loss again",
            ),
            step=1,
        )


def noise_of(losses: Sequence[float]) -> float:
    """Standard deviation of a log loss around its course, from successive differences; 0 with fewer than 3.

    >>> round(noise_of([8.0, 4.0, 2.0, 1.0]), 6)
    0.0
    """
    logs = [math.log(max(loss, 1e-12)) for loss in losses]
    return stdev(b - a for a, b in pairwise(logs)) / math.sqrt(2) if len(logs) > 2 else 0.0
