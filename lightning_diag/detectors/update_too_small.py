"""``updates/too-small``: steps so small that the run gets nowhere within its plan."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._ahead import LATE, Ahead
from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, NOTHING, Consequence
from lightning_diag.detectors._parameters import arrays, matrices
from lightning_diag.detectors._run_out import GONE, RunOut
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.sorted_window import SortedWindow

SHRUNK = 1.0  # decades: with a steady learning rate steps shrink this much when layers die or the run has converged
PRETRAINED = 0.9  # R of the first ten losses below which a run goes on from what was learned before
FAR_OUT = 3.0  # the same above which it started with far too large weights (``bad`` of loss/bad-start)
TINY = 0.5  # decades below the limit at which a run that has learned nothing is told before there are ``samples``
USUAL = 1e-3  # update ratio of most healthy runs (CS231n)
ADVICE = (
    "print the lr over 100 steps: does the scheduler step once per what it was written for, step or epoch?",
    "if raising it makes no difference, look at gradient_clip_val and weight decay next",
)


class UpdateTooSmall(Detector):
    """Steps are so small against the weights that the run gets nowhere within its plan.

    Catches:
        A learning rate 30 or more times too low, a schedule that never leaves its warm-up value or, stepped once a step
        in the place of once an epoch, decays to nothing, SGD with Adam's learning rate.

    Formula:
        ``u``: median over weight matrices of the update ratio (exact zeros left out: those are ``updates/frozen``),
        median over ``samples`` samples. ``R`` (``loss/relative``) at the planned end, going on as fast as on average
        so far or as over the last half, whichever is faster; without a plan, after 20 times the steps done.
        ``q``: what the gradients foretold along the way gone (``grad/along``) over what the loss fell by, over a tenth
        of the plan: 1 where the loss falls in a straight line, 0 where steps reach the bottom of the valley they cross.
        ``S``: distance of the weights from where they were first over the length of their way (the sum of all steps),
        median over weight matrices. Steps that are large enough overshoot and turn, so that ``S`` falls.

    Reads:
        ``update/parameter_ratio weight/parameter_norm weight/distance grad/along lr`` where sampled, ``loss/relative``
        and the loss's curve beside them.

    Args:
        ratio_log10: log10 of the update ratio; higher = also learning rates less far off. Default -3.3 (half of the
            usual 1e-3): learning rates 100 times too low give -3.4 to -4.6, healthy trainings with R above 0.2 more
            than -2.9 (one at its noise floor -3.29).
        samples: samples the median runs over; higher = later, quieter. Default 20.
        target: R that the run should reach by its planned end; higher = fewer warnings. Default 0.5.
        learned: R below which there is nothing to complain of; higher = quieter. Default 0.2.
        nominal: share of its peak below which the learning rate counts as decayed; higher = quieter. Default 0.3.
        straight: S from which the way is straight; higher = quieter. Default 0.7: learning rates 10 times too low gave
            0.69 to 0.97 between 0.3 and half of the plan; healthy runs that had as much of their loss left had less
            (development set).
        line: q, less two standard errors, from which the loss falls in a straight line; higher = quieter. Default 0.4:
            see False alarms.

    Fires when:
        ``u`` is below its limit and R above ``learned`` after 2 % of the plan (60 to 1,000 steps, 200 without a plan;
        12 at least where ``u`` is half a decade below its limit and nothing was learned, R above 0.985), while the
        learning rate is above ``nominal`` of its peak and not rising (info); a warning when the chance level is known
        and R is above ``target`` and still will be at the end; not on a plateau after a faster fall, which small steps
        don't make (noisy targets do). Also a warning where S is above ``straight`` between 0.3 and 0.6 of a plan of 300
        steps or more and R above what healthy runs have left by then (classes: 0.72 falling to 0.4 at half of the plan,
        numbers: 0.95 to 0.86, language: 0.845 to 0.77), until the way turns or the loss has fallen below that. In a
        regression R above ``learned`` is enough from 0.4 of a plan of 500 steps or more on: what guessing costs says
        little of it. The same, already from 0.15 of such a plan on, where q is surely above ``line`` (classes: R above
        0.97, 0.82 at 0.3, 0.55 at half of the plan; numbers 0.9, 0.55, 0.45; language 0.97, 0.88, 0.78). And
        when the learning rate fell below 0.001 of its peak within five epochs and half of the plan, stayed there for
        5 % of it, and R is above ``target``.

    False alarms:
        A warning in none of the 111 healthy and 2 of the 54 harmless trainings of
        ``benchmarks/results/gradient_rules.md`` (weights that start at a tenth of their scale: 1.7 points). A warning
        in all 39 of learning rates 100 and 1,000 times too low whose steps are small (not with targets that are not
        scaled: their gradients are large). On two more seeds of the fault zoo's development tasks 19 of 28
        learning rates 10 and 3 times too low, and none of 186 healthy runs (the limits for numbers were raised for two
        of them). Quiet in warm-up, in the decayed part of a schedule (of the way also after a restart) and on
        fine-tuning that starts well below chance. Where chance isn't known it stays info: a fine-tuning that hardly
        gains can't be told from a stuck run. Non-finite ratios are left out.

        The line was looked at in 535 healthy and 37 harmless trainings of the fault zoo (one seed of every healthy way
        to train; sampled every fifth step): above its limits in none, and in 130 of the 262 harmful ones with learning
        rates too low, SGD clipped too tightly or first weights off, half of them by 0.15 of the plan. Asked for
        are samples 3 steps or more apart: a single step goes along a line in health, too. Never where the first losses
        were beyond 3 times chance, which is ``loss/bad-start``.

    Cost:
        30 µs a reading of 1,000 parameters.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=1000, chance_loss=2.3, parameter_kind=("matrix",) * 3)
        >>> rng, detector = np.random.default_rng(0), UpdateTooSmall()
        >>> for step in range(1, 101):
        ...     values = {"update/parameter_ratio": 1e-5 * rng.lognormal(0, 0.3, 3), "lr": np.array([1e-6])}
        ...     values["loss/relative"] = np.float64(1.0 - 1e-5 * step)
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if finding is not None:
        ...         print(step, finding.severity, round(finding.evidence["relative_loss_at_end"], 2))
        ...         break
        20 warning 0.99

    References:
        Karpathy, CS231n notes, ratio of updates to weights (about 1e-3); Bengio, Practical recommendations for
        gradient-based training of deep architectures, 2012 (arXiv:1206.5533); Mahsereci and Hennig, Probabilistic line
        searches, JMLR 2017; Schneider et al., Cockpit, NeurIPS 2021; Zhang et al., AUTOTRAINER, ICSE 2021,
        slow convergence.
    """

    rule: ClassVar[str] = "updates/too-small"
    code: ClassVar[str] = "U002"
    reads: ClassVar[tuple[str, ...]] = ("update/parameter_ratio",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Updates too small"
    by_optimizer: ClassVar[bool] = True

    def __init__(
        self,
        ratio_log10: float = -3.3,
        samples: int = 20,
        target: float = 0.5,
        learned: float = 0.2,
        nominal: float = 0.3,
        straight: float = 0.7,
        line: float = 0.4,
    ) -> None:
        self.ratio_log10 = number("ratio_log10", ratio_log10, -12, 0)
        self.samples = whole("samples", samples, 3)
        self.target = number("target", target, 0)
        self.learned = number("learned", learned, 0)
        self.nominal = number("nominal", nominal, 0, 1)
        self.straight = number("straight", straight, 0, 1)
        self.line = number("line", line, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=AT_ONCE_STEPS)
        self._ahead, self._out = Ahead(self.straight, self.line, self.learned), RunOut()
        self._told = False  # of a straight way or line
        self._decayed = False  # whether the learning rate ever was: after a restart the way tells of small steps, too
        self._ratios = SortedWindow(self.samples)
        self._largest = -math.inf  # median so far

    def update(self, reading: Reading) -> Finding | None:
        """Judge the size of this step."""
        run = self._run
        run.see(reading)
        self._ahead.see(reading)
        self._out.see(reading, run.rates)
        if run.known and run.ripe and run.relative > self.target and self._out.early(reading, run.rates):
            return self._over(reading)
        (ratio,) = arrays(reading, "update/parameter_ratio")
        ratio = ratio[matrices(reading.facts)]
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        if not len(ratio):
            raise NotMeasurable("no weight matrix moved by a finite amount")
        self._ratios.push(float(np.log10(np.median(ratio))))
        self._largest = max(self._largest, self._ratios.median())
        below = self.ratio_log10 - self._ratios.median()
        samples = min(self.samples, AT_ONCE_STEPS) if below > TINY else self.samples
        patience = run.sooner_steps if below > TINY and run.relative > NOTHING else run.patience_steps
        if len(self._ratios) < samples or run.watched < patience:
            raise NotMeasurable(f"fewer than {self.samples} samples or {run.patience_steps} steps")
        self._decayed |= run.rates.decay < self.nominal
        if run.warming_up or run.rates.decay < self.nominal:
            raise NotMeasurable("the learning rate is warming up or has decayed")
        if math.isnan(run.relative):
            raise NotMeasurable("the loss is not measured, so nobody can say whether the steps are too small")
        if self._ratios.median() < self._largest - SHRUNK:
            raise NotMeasurable("steps were 10 times larger before: the gradient has shrunk, not the learning rate")
        ahead = self._straight(reading)
        if ahead is not None or self._ratios.median() >= self.ratio_log10 or run.relative < self.learned:
            return ahead
        return self._finding(reading)

    def _over(self, reading: Reading) -> Finding:
        rates, left = self._run.rates, self._run.relative
        stands = f"the loss stands at {left:.3g} times chance (limit {self.target:g})"
        text = f"{self._out.in_words(reading, rates)}, and {stands}."
        evidence = {"value": rates.decay, "limit": GONE, "relative_loss": left, "lr": rates.last}
        return self.found(reading, Severity.WARNING, text, evidence=evidence, advice=ADVICE[:1], step=self._out.step)

    def _straight(self, reading: Reading) -> Finding | None:
        """Judge whether the weights only go straight ahead."""
        progress, rates = reading.progress or 0.0, self._run.rates
        if self._decayed or self._pretrained or self._far_out or (progress > LATE and not self._told):
            return None
        sign = self._ahead.sign(reading, self._run.relative)
        if sign is None:
            return None
        self._told = True  # what was told holds until the way turns or the loss has fallen
        factor = max(2.0, round(sign.longer))
        return self.found(
            reading,
            Severity.WARNING,
            sign.text,
            evidence={**sign.evidence, "update_ratio": 10 ** self._ratios.median(), "lr": rates.last},
            advice=(
                f"repeat the first tenth with {_rate(rates.last, factor)}: if the loss falls faster, that was it",
                *ADVICE,
            ),
        )

    @property
    def _far_out(self) -> bool:
        """Whether the run started far above chance: its way down is long because of its weights (loss/bad-start)."""
        return bool(self._run.trail) and self._run.trail[0][1] > FAR_OUT

    @property
    def _pretrained(self) -> bool:
        return bool(self._run.trail) and self._run.trail[0][1] < PRETRAINED

    def _finding(self, reading: Reading) -> Finding:
        run, ratio = self._run, 10 ** self._ratios.median()
        end = run.projected(reading.facts)
        suffers = run.known and run.relative > self.target and end > self.target and not run.plateaued()
        suffers = suffers and not self._pretrained
        planned, rate = reading.facts.planned_steps, run.rates.last
        factor = 10.0 ** max(1, round(math.log10(USUAL / ratio)))
        when = f"by step {planned}" if planned else "in 20 times the steps done"
        loss = f"; the loss stands at {run.relative:.3g} times chance, going on like this at {max(end, 0.0):.3g} {when}"
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"Steps change the weights by {ratio:.1e} of their size (median over weight matrices and "
            f"{len(self._ratios)} samples, limit {10**self.ratio_log10:.1e})" + (loss if suffers else "") + ".",
            evidence={
                "value": ratio,
                "limit": 10**self.ratio_log10,
                "relative_loss": run.relative,
                "relative_loss_at_end": end,
                "lr": rate,
            },
            advice=(
                f"repeat the first 200 steps with {_rate(rate, factor)}: if the loss falls faster, that was it",
                *ADVICE,
            ),
        )


def _rate(rate: float, factor: float) -> str:
    times = f"{factor:g} times the learning rate"
    return f"lr={rate * factor:.2g} ({times})" if rate > 0 else times
