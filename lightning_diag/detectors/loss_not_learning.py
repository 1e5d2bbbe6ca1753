"""``loss/not-learning``: the training loss is no better than the trivial predictor's."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._trend import LATE, Reference, TrendDetector, reference
from lightning_diag.detectors._words import percent
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.loss_trace import Trend

TRIVIAL = {
    "classification": "always guessing the label frequencies",
    "language-model": "always guessing the token frequencies",
    "regression": "always guessing the mean target",
}
CLEAR = 3.0  # standard errors


class LossNotLearning(TrendDetector):
    """The training loss is no better than that of the trivial predictor.

    Catches:
        Inputs that don't reach the output, labels that don't belong to the inputs, dead units, a learning rate that is
        far too low or too high: the run goes on and learns nothing.

    Formula:
        ``R = (L - floor) / (chance - floor)`` with ``L`` the mean loss over the last quarter of the steps, or the
        median of the means of 12 parts of it where that is less (spikes move the one, a loss of two modes the other).
        It holds when ``R > limit``, ``R`` is above 0.9 by 2 standard errors, and the loss doesn't fall on its way to
        ``R < 0.9`` at the end of the plan (extrapolated from the last quarter and from the last three quarters of the
        steps, where the slope's t is below -2).

    Reads:
        ``loss/train loss/level loss/relative`` at every step; ``lr`` where sampled; the facts chance_loss, loss_floor,
        planned_steps.

    Args:
        limit: R above which nothing was learned; higher = fires on fewer runs. Default 0.97: harmful plateaus sit at
            0.97 to 1.1, 140 healthy short trainings ended at 0.54 or lower.
        start_steps: steps before which nothing is judged; higher = later. Default 60.
        start_frac: the same as a share of the plan. Default 0.12.
        lost_frac: share of the plan from which it is critical; also the wait where chance isn't known. Default 0.5.

    Fires when:
        chance is known: a note from step 1,000 (or 4 % of the plan) on in plans so long that ``start_frac`` comes
        later, a warning from ``start_frac`` on, critical from ``lost_frac`` on unless the loss is below chance by 3
        standard errors (then it learned a little). Chance isn't known (then the first losses stand in for it): a
        warning from ``lost_frac`` on, and only if the loss fell nowhere; not judged in a run that is watched from a
        later step on. Waits while the learning rate is still rising. Not judged with several optimizers or manual
        optimization.

    False alarms:
        None in 352 simulated healthy runs of 200 to 20,000 steps (`benchmarks/results/false_alarms_loss.md`). A run
        that sits at chance for 40 % of its plan and then drops is told (10 of 10) and resolved. Recall there: 20 of 20
        at chance.

    Cost:
        1.7 µs a step, of which 0.1 ms at every look (0.5 % of the plan).

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> from lightning_diag.reading import Facts
        >>> judge, rng = Judge([LossNotLearning()]), np.random.default_rng(0)
        >>> facts = Facts(planned_steps=1000, chance_loss=2.30, task="classification")
        >>> for step in range(1, 1001):
        ...     loss = 2.30 * np.exp(0.1 * rng.standard_normal())
        ...     for finding in judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}, facts))):
        ...         print(step, finding.severity)
        121 warning
        501 critical

    References:
        Karpathy, A recipe for training neural networks, 2019: verify the loss at initialization and against a baseline.
    """

    rule: ClassVar[str] = "loss/not-learning"
    code: ClassVar[str] = "L006"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/level", "loss/relative", "lr")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Nothing is learned"
    resolve_after: ClassVar[int | None] = 3

    def __init__(
        self, limit: float = 0.97, start_steps: int = 60, start_frac: float = 0.12, lost_frac: float = 0.5
    ) -> None:
        self.limit = number("limit", limit, 0.5, 1)
        self.start_steps = whole("start_steps", start_steps, 20)
        self.start_frac = number("start_frac", start_frac, 0, 1)
        self.lost_frac = number("lost_frac", lost_frac, start_frac, 1)
        super().__init__()

    def _look(self, reading: Reading) -> Finding | None:
        ref = reference(reading)
        if ref is None:
            raise NotMeasurable("the chance loss is not known and the first losses are not positive")
        if not ref.known and self._since > LATE:
            raise NotMeasurable(f"watched from step {self._since} on, and the chance loss is not known")
        self._wait(reading, ref)
        self._settled(reading)
        recent = reading.curve.trend(max(30, reading.step // 4))
        error = recent.error / ref.span
        relative = min(ref.relative(recent.level), ref.relative(recent.mean))
        if relative <= self.limit or relative - 2 * error <= 0.9:
            return None
        planned = reading.facts.planned_steps or 2 * reading.step
        for line in (recent, reading.curve.trend(3 * reading.step // 4)):
            pace = line.change / ref.span / max(1, line.steps)
            if line.t < -2 and relative + pace * (planned - reading.step) < 0.9:
                return None
        if not ref.known and reading.curve.trend(len(reading.curve)).t < -CLEAR:
            return None
        return self._finding(reading, ref, relative, self._severity(reading, ref, relative, error), recent)

    def _wait(self, reading: Reading, ref: Reference) -> None:
        """Raise while it is too early to say."""
        planned = reading.facts.planned_steps
        if planned:
            full = int((self.start_frac if ref.known else self.lost_frac) * planned)
            wait = max(self.start_steps, min(full, max(1000, planned // 25)) if ref.known else full)
        else:
            wait = max(500 if ref.known else 2000, reading.facts.steps_per_epoch or 0)
        if reading.step < wait or len(reading.curve) < self.start_steps:
            raise NotMeasurable(f"needs {max(wait, self.start_steps)} steps")
        if self._rates.rising(reading.step, max(30, wait // 4)) and reading.step < self.lost_frac * (
            planned or 10 * wait
        ):
            raise NotMeasurable("the learning rate is still rising")

    def _severity(self, reading: Reading, ref: Reference, relative: float, error: float) -> Severity:
        progress = reading.progress
        if not ref.known or progress is None:
            return Severity.WARNING
        if progress >= self.lost_frac and relative + CLEAR * error >= 1:
            return Severity.CRITICAL
        return Severity.WARNING if progress >= self.start_frac else Severity.INFO

    def _finding(self, reading: Reading, ref: Reference, relative: float, severity: Severity, recent: Trend) -> Finding:
        trivial = TRIVIAL.get(reading.facts.task or "", "the best constant prediction") if ref.known else ""
        than = f"{trivial} ({ref.chance:.4g})" if ref.known else f"the first losses ({ref.chance:.4g})"
        worse = "worse" if relative > 1.1 else "no better"
        return self.found(
            reading,
            severity,
            f"After {reading.step} steps the training loss {ref.loss(relative):.4g} is {worse} than {than}: "
            f"{percent(relative)} of it is left, the limit is {percent(self.limit)}.",
            evidence={
                "value": relative,
                "limit": self.limit,
                "chance": ref.chance,
                "chance_known": int(ref.known),
                "slope_t": recent.t,
            },
            advice=(
                "train on one fixed batch for 100 steps: if its loss doesn't fall to near zero, model, loss or "
                "optimizer are wired wrongly; if it does, the labels don't follow from the inputs",
                "print one batch as the model gets it, inputs beside targets, and check that they belong together "
                "and that inputs have about unit variance",
                "repeat the first 200 steps with the learning rate times 10 and divided by 10",
            ),
        )
