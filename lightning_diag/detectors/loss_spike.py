"""``loss/spike``: the training loss jumps far above its level for more than one step."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any, ClassVar

from lightning_diag.detectors._aftermath import AFTER, LATE, NEWEST, gone, phase_after
from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._batch import at, taken
from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors._trend import labels_added, not_competing
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.loss_health import LossHealth

RECENT = 128  # rises above the level whose largest a spike must pass: a mixture of batches has its own high marks
HIGHER = 1.2  # times that maximum
ROW = 3  # losses in a row above it that are a spike whatever their z: 6 / (129 * 130 * 131) by chance, at any noise
SUSPECT = 2.0  # z below which nothing is looked at
MEDIAN_ERROR = 1.2533 / 11**0.5  # standard error of a median of 11 numbers, over their standard deviation
PATIENCE = 200  # steps to wait for a sample of the learning rate before judging without one
WIDE = 1000  # steps (or 5 % of the plan) within which spikes count together


class LossSpike(Detector):
    """The training loss jumps far above its level for more than one step.

    One-sided: a loss that falls is never a spike, and neither is one bad batch that leaves the next step as it was.

    Catches:
        Instability (a learning rate at its peak, Adam's stale second moments), a corrupt batch that moved the weights.

    Formula:
        A high loss: ``loss - level`` above ``0.3 |level|``, above ``min_rise * chance`` and above 1.2 times the largest
        of the last 128 steps. A spike: a high loss with ``z > limit`` (``loss/z``) and ``z > confirm`` within
        ``confirm_steps`` steps, or with a gradient norm of ``z > limit`` against its own past; or three high losses in
        a row, whatever their z (for exchangeable losses of any distribution that is 3 in a million; it finds the spike
        of a loss near zero, whose log is so noisy that chance level is no outlier). Not recovered: the median loss of
        steps +40 to +60 is above the level before by more than 10 %, 3 standard errors and ``min_rise * chance``; that
        of steps +10 to +20, where it also stands above a third of the spike, or lost a third of what the run had gained
        over chance.

    Reads:
        ``loss/train loss/z loss/level loss/noise`` (``loss/relative`` for the chance loss) at every step; ``grad/norm``
        and ``lr`` where sampled.

    Args:
        limit: z of a spike (robust standard deviations); higher = only larger spikes. Default 8: at 6 (OLMo-core's skip
            step) Student-t noise of 5 degrees of freedom gives 7 alarms per 10,000 steps, at 8 with confirmation 0.
        confirm: z of one of the next steps that confirms it; higher = quieter, later. Default 4.
        confirm_steps: steps within which it must be confirmed; higher = more recall, more false alarms. Default 2.
        min_rise: smallest rise as a share of the chance loss (or of the first losses); higher = blind to small spikes.
            Default 0.05.
        repeats: spikes within 1,000 steps (or 5 % of the plan) that make a warning of recovered ones; higher =
            quieter. Default 3.
        start_steps: steps before which nothing is a spike; the first losses have no baseline. Default 32.

    Fires when:
        confirmed (info, ``confirm_steps`` after the spike at most; ``step`` is the spike's own); a warning when it has
        not recovered 20 steps later (60 where it is on its way or chance isn't known; 3 where it stands above the level
        before by 20 times what had been gained over chance, 10 where by twice as much), held until it does, or at
        ``repeats`` spikes. Info while the learning rate has just been more than doubled (a warm restart), or where the
        labels' entropy rose by 3 % (a curriculum that adds classes). Not judged where losses compete (a GAN).

    False alarms:
        Of 352 simulated healthy runs of 200 to 20,000 steps, 2 got a note and none a warning
        (`benchmarks/results/false_alarms_loss.md`). On stationary noise of Student's t in the log loss: 0.03 (5
        degrees) and 0.28 (3 degrees) notes per 10,000 steps. Recall there: 20 of 20 spikes of 4 or 10 times the loss at
        the next step, 2 of 10 of twice (noise 10 %). A step to harder inputs looks like a spike that doesn't recover.

    Cost:
        0.2 µs a step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> judge, rng = Judge([LossSpike()]), np.random.default_rng(0)
        >>> for step in range(1, 301):
        ...     loss = 2.0 * np.exp(0.05 * rng.standard_normal()) + 6.0 * np.exp(-(step - 200) / 4) * (step >= 200)
        ...     for finding in judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}))):
        ...         print(step, finding.step, finding.severity, finding.status)
        201 200 info open
        221 200 info resolved

    References:
        Chowdhery et al., PaLM, 2022 (arXiv:2204.02311), section 5.1; Wortsman et al., 2023 (arXiv:2304.13013), on
        spikes after stale second moments; AllenAI's OLMo-core, skip-step optimizer; MosaicML's llm-foundry, kill loss
        spike.
    """

    rule: ClassVar[str] = "loss/spike"
    code: ClassVar[str] = "L001"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/z", "loss/level", "loss/noise", "loss/relative")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Loss spike"
    every_step: ClassVar[bool] = True

    def __init__(
        self, limit: float = 8.0, confirm: float = 4.0, confirm_steps: int = 2, min_rise: float = 0.05,
        repeats: int = 3, start_steps: int = 32,
    ) -> None:  # fmt: skip
        self.limit = number("limit", limit, 1)
        self.confirm = number("confirm", confirm, 0)
        self.confirm_steps = whole("confirm_steps", confirm_steps, 1, 20)
        self.min_rise = number("min_rise", min_rise, 0)
        self.repeats = whole("repeats", repeats, 2)
        self.start_steps = whole("start_steps", start_steps, 10)
        super().__init__()

    def _reset(self) -> None:
        self._phase = "calm"  # calm, seen (one high loss), confirmed, returning (above, but on its way back), stuck
        self._row = 0  # losses in a row that stood out
        self._spike: dict[str, Any] = {}
        self._after: list[float] = []
        self._newest: deque[float] = deque(maxlen=NEWEST)  # losses since it was confirmed
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._spikes: list[int] = []  # steps of the last confirmed ones
        self._gradient = LossHealth()  # the same statistics, over the gradient norm
        self._gradient_jump = -1  # step of its last outlier
        self._rates = LrWatch()

    def update(self, reading: Reading) -> Finding | None:
        """Judge one loss against the ones before it."""
        not_competing(reading)
        values = reading.values
        if "lr" in values:
            self._rates.see(reading)
        if "grad/norm" in values and self._gradient.update(float(values["grad/norm"])).get("loss/z", 0.0) > self.limit:
            self._gradient_jump = reading.step
        loss, z, level = values.get("loss/train"), values.get("loss/z"), values.get("loss/level")
        if loss is None or z is None or level is None:
            raise NotMeasurable("the loss is not finite, or fewer than 10 losses were seen")
        if self._phase != "calm":
            return self._follow(reading, float(loss), float(z))
        rise = float(loss) - float(level)
        if z > SUSPECT and self._stands_out(reading, rise):
            self._note(reading, float(loss), float(z))
            return self._confirmed(reading) if z > self.limit and self._gradient_jump == reading.step else None
        self._recent.append(rise)
        return None

    def _follow(self, reading: Reading, loss: float, z: float) -> Finding | None:
        """One step after a high loss."""
        since = reading.step - self._spike["step"]
        if self._phase == "seen":
            strong = self._spike["z"] > self.limit
            self._row = self._row + 1 if self._stands_out(reading, loss - float(reading.values["loss/level"])) else 0
            if self._row >= ROW or (strong and (z > self.confirm or self._gradient_jump >= self._spike["step"])):
                return self._confirmed(reading)
            if since >= self.confirm_steps or not (strong or self._row):
                self._recent.append(self._spike["loss"] - self._spike["level"])
                self._phase = "calm"
            return None
        if self._phase in ("confirmed", "returning"):
            first, last = AFTER if self._phase == "confirmed" else LATE
            if first <= since <= last:
                self._after.append(loss)
            self._newest.append(loss)
            lost = gone(self._newest, since, self._spike)
            waits = self._rates.unknown_since(self._spike["step"]) and since < PATIENCE
            if waits or (since < last and not lost):
                return self._finding(reading, Severity.INFO, "") if self._phase == "returning" else None
            late, chance = self._phase == "returning", self._chance(reading)
            self._phase = "stuck" if lost else phase_after(self._after, self._spike, chance, late=late)
            self._after = []
        if self._phase == "stuck" and since > 2 * AFTER[1] and reading.values["loss/level"] <= self._spike["limit"]:
            self._phase = "calm"  # recovered after all
        return self._stuck(reading) if self._phase == "stuck" else None

    def _stands_out(self, reading: Reading, rise: float) -> bool:
        """Whether this rise over the level is large against the level, against chance and against the rises before."""
        large = rise > 0.3 * abs(reading.values["loss/level"]) and rise > self._least(reading)
        return large and reading.step >= self.start_steps and rise > HIGHER * max(self._recent, default=0.0)

    def _least(self, reading: Reading) -> float:
        return self.min_rise * self._chance(reading)

    def _chance(self, reading: Reading) -> float:
        """The loss of a guess, or the first losses where that isn't known; 0 where neither is."""
        level, relative = float(reading.values["loss/level"]), reading.scalar("loss/relative")
        return abs(level / relative) if relative else 0.0

    def _note(self, reading: Reading, loss: float, z: float) -> None:
        """Take down a high loss that may be a spike."""
        level = float(reading.values["loss/level"])
        error = (reading.scalar("loss/noise") or 0.0) * abs(level) * MEDIAN_ERROR
        self._phase, self._row = "seen", 1
        highest = max(self._recent, default=0.0)
        self._spike = {
            **taken(reading),
            "loss": loss,
            "z": z,
            "level": level,
            "chance": reading.facts.chance_loss or 0.0,
            "higher": (loss - level) / highest if highest > 0 else 99.0,
            "limit": level + max(0.1 * abs(level), self._least(reading), 3 * error),
        }

    def _confirmed(self, reading: Reading) -> Finding:
        self._phase, self._after = "confirmed", []
        self._newest.clear()
        self._spikes = [*self._spikes, self._spike["step"]][-self.repeats :]
        wide = max(WIDE, (reading.facts.planned_steps or 0) // 20)
        own = reading.facts.automatic_optimization or reading.facts.shared_loss  # else e.g. a target network moves
        if own and len(self._spikes) == self.repeats and reading.step - self._spikes[0] <= wide:
            return self._finding(reading, Severity.WARNING, f"; that makes {self.repeats} spikes within {wide} steps")
        return self._finding(reading, Severity.INFO, "")

    def _stuck(self, reading: Reading) -> Finding:
        since = reading.step - self._spike["step"]
        what = "level" if since >= AFTER[1] else "loss"  # which the level follows slowly
        now = float(reading.values["loss/level" if since >= AFTER[1] else "loss/train"])
        more = f", and {since} steps later the {what} is still {now:.4g} (limit {self._spike['limit']:.4g})"
        chance = reading.facts.chance_loss or 0.0
        if labels_added(reading.facts, self._spike["chance"]):
            other = f", but the labels are others since then: guessing them costs {chance:.3g} now"
            return self._finding(reading, Severity.INFO, more + other)
        if chance == 0 and since < LATE[1]:  # a loss of other labels than the batch's may be one of them soon
            return self._finding(reading, Severity.INFO, more)
        if not self._rates.raised(self._spike["step"] - PATIENCE):
            return self._finding(reading, Severity.WARNING, more)
        jump = f", after the learning rate rose from {self._rates.before_jump:.3g} to {self._rates.last:.3g}"
        return self._finding(reading, Severity.INFO, more + jump)

    def _finding(self, reading: Reading, severity: Severity, more: str) -> Finding:
        spike = self._spike
        value, limit, what = spike["z"], self.limit, "robust deviations above what was expected"
        if value <= limit:
            value, limit = spike["higher"], HIGHER
            what = f"times the highest rise of {RECENT} steps, {ROW} times in a row"
        found = self.found(
            reading,
            severity,
            f"The training loss rose from a level of {spike['level']:.4g} to {spike['loss']:.4g} at {at(spike)}, "
            f"{value:.3g} {what} (limit {limit:g}){more}.",
            evidence={
                "value": value,
                "limit": limit,
                "loss": spike["loss"],
                "level_before": spike["level"],
                "batch_idx": spike["batch"],
                "recovered": int(self._phase != "stuck"),
            },
            advice=(
                f"look at the samples of {at(spike)}: input norm, length and labels beside those of its neighbours",
                f"resume from the last checkpoint before step {spike['step']} with another data order: no spike means "
                "the batch, the same spike means the optimizer's state",
                "in that resumed run halve the learning rate, or clip the gradient norm at its recorded 90th "
                "percentile, one at a time; with Adam try beta2 = 0.95 next",
            ),
            step=spike["step"],
        )
        return dataclasses.replace(found, step=spike["step"], epoch=spike["epoch"])
