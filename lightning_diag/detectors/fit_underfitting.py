"""``fit/underfitting``: the run ends before the training loss is low."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._trend import LATE, Reference, TrendDetector, reference, several_classes
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import NEVER
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.loss_trace import Trend

MIN_PROGRESS = 0.9  # a run that ended earlier was stopped on purpose or broke
MAX_GAP = 0.1  # validation less training loss, in units of chance - floor, from which it is no underfitting
PART = 0.2  # share of the run at its end through which the line is laid
AT_CHANCE = 0.97  # from here on nothing was learned at all: loss/not-learning's
CLEAR = 3.0  # standard errors


class FitUnderfitting(TrendDetector):
    """The run ends before the training loss is low: it was still improving, or it never got there.

    Catches:
        A plan that is too short, or a learning rate too low for it (still improving at the end); a model that is too
        small or too regularized for its data (training and validation loss alike, high and flat).

    Formula:
        a line through the last 20 % of the losses, ``gain`` its fall per 10 % of the run over ``chance - floor``.
        Still improving: ``gain > min_gain`` and its t below -3. Underfitted: not improving, ``limit < R < 0.97`` and
        ``(loss/val - L) / (chance - floor) < 0.1``, with ``R = (L - floor) / (chance - floor)``.

    Reads:
        ``loss/train loss/level loss/relative`` at every step, ``loss/val`` of the last validation, ``run/ended``.

    Args:
        limit: R above which a flat end is worth a note (for a language model, most of whose loss can't be learned:
            ``severe``); higher = fires on fewer runs. Default 0.3.
        severe: R above which it is a warning for a classifier of 3 classes or more; higher = fewer warnings. Default
            0.8: with two classes (clicks) or a regression such an R is common in good models.
        min_gain: fall per 10 % of the run, over all there is to gain, from which longer training is worth it; higher =
            fires on fewer runs. Default 0.01.
        min_steps: runs shorter than this are not judged; higher = fewer runs. Default 100.

    Fires when:
        once, in the reading after the last step, if at least 90 % of the plan was run. ``step`` is the last step.
        Underfitted only where chance is known. Not judged with several optimizers or manual optimization.

    False alarms:
        Of 352 simulated healthy runs of 200 to 20,000 steps, 23 got a note and none a warning
        (`benchmarks/results/false_alarms_loss.md`); 16 of the 23 did still fall by more than ``min_gain``. Recall
        there: 20 of 20.

    Cost:
        1 µs a step, 0.2 ms at the end.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> from lightning_diag.reading import Facts
        >>> judge, rng = Judge([FitUnderfitting()]), np.random.default_rng(0)
        >>> facts = Facts(planned_steps=1000, chance_loss=2.30)
        >>> for step in range(1, 1001):
        ...     loss = (2.3 - 0.001 * step) * np.exp(0.1 * rng.standard_normal())
        ...     _ = judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}, facts)))
        >>> for finding in judge.update(Reading(1000, 0, {"run/ended": np.float64(1)}, facts, stage="end")):
        ...     print(finding.step, finding.severity, round(finding.evidence["value"], 3))
        1000 info 0.056

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, section 5.2 and chapter 11. Bartlett 1946 on the error of
        a slope in autocorrelated data.
    """

    rule: ClassVar[str] = "fit/underfitting"
    code: ClassVar[str] = "F002"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/level", "loss/relative", "loss/val", "run/ended", "lr")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "The run ends too early or the model can't fit"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 0.3, severe: float = 0.8, min_gain: float = 0.01, min_steps: int = 100) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.severe = number("severe", severe, limit, 2)
        self.min_gain = number("min_gain", min_gain, 0)
        self.min_steps = whole("min_steps", min_steps, 40)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self.rests_until = NEVER
        self._why = "judged when the run ends"
        self._unit = 0.0  # loss at which loss/relative is 1: the last reading holds no loss
        self._val = math.nan

    def update(self, reading: Reading) -> Finding | None:
        """Take in one loss; judge the curve at the end."""
        values = reading.values
        if "loss/val" in values:
            self._val = float(values["loss/val"])
        self.take(reading)
        return super().update(reading)

    def take(self, reading: Reading) -> None:
        """Keep what the loss is measured against."""
        values = reading.values
        if "loss/relative" in values and "loss/level" in values:
            if self._since < 0:
                self._since = reading.step
            if values["loss/relative"]:
                self._unit = float(values["loss/level"] / values["loss/relative"])

    def _due(self, reading: Reading) -> bool:
        return "run/ended" in reading.values

    def _look(self, reading: Reading) -> Finding | None:
        progress, seen = reading.progress, len(reading.curve)
        ref = reference(reading, self._unit)
        if progress is not None and progress < MIN_PROGRESS:
            raise NotMeasurable(f"the run ended at {percent(progress)} of its plan")
        if seen < self.min_steps:
            raise NotMeasurable(f"needs {self.min_steps} steps, saw {seen}")
        if ref is None or not (ref.known or self._since <= LATE):
            raise NotMeasurable("neither the chance loss nor positive first losses are known")
        line = reading.curve.trend(max(self.min_steps // 2, int(PART * seen)))
        gain = -line.change / ref.span * 0.1 * seen / max(1, line.steps)
        if line.t < -CLEAR and gain > self.min_gain:
            return self._improving(reading, ref, line, gain)
        facts = reading.facts
        relative, gap = ref.relative(line.level), (self._val - line.level) / ref.span
        limit = self.severe if facts.task == "language-model" else self.limit
        if not ref.known or not limit < relative < AT_CHANCE or gap >= MAX_GAP:
            return None
        severe = several_classes(facts) and relative > self.severe and gap < MAX_GAP
        return self._high(reading, ref, line, Severity.WARNING if severe else Severity.INFO)

    def _improving(self, reading: Reading, ref: Reference, line: Trend, gain: float) -> Finding:
        return self.found(
            reading,
            Severity.INFO,
            f"The training loss was still falling at the end: by {percent(gain)} of what there is to gain per 10 % "
            f"of the run (limit {100 * self.min_gain:g} %), to {line.level:.4g}.",
            evidence={"value": gain, "limit": self.min_gain, "slope_t": line.t, "relative": ref.relative(line.level)},
            advice=(
                "train twice as long with the schedule stretched to the new length",
                "or repeat the first tenth with 3 times the learning rate: a lower loss at its end saves the extra "
                "time",
            ),
        )

    def _high(self, reading: Reading, ref: Reference, line: Trend, severity: Severity) -> Finding:
        relative = ref.relative(line.level)
        val = f", with a validation loss of {self._val:.4g} as high as it" if math.isfinite(self._val) else ""
        return self.found(
            reading,
            severity,
            f"The training loss ended flat at {line.level:.4g}, {percent(relative)} of {ref.name} (limit "
            f"{percent(self.severe if severity else self.limit)}){val}.",
            evidence={
                "value": relative,
                "limit": self.severe if severity else self.limit,
                "loss_val": self._val,
                "slope_t": line.t,
            },
            advice=(
                "estimate what can't be learned: the loss two people, or a published model, reach on this data; stop "
                "here if it is near",
                "switch augmentation, dropout and weight decay off for a fifth of the plan: a lower training loss "
                "means too much regularization",
                "double the width for a fifth of the plan: a lower training loss means too small a model",
            ),
        )
