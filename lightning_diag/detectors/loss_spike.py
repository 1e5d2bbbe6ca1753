"""``loss/spike``: the training loss jumps far above its level for more than one step."""

from __future__ import annotations

import dataclasses
from collections import deque
from statistics import median
from typing import Any, ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.loss_health import LossHealth

RECENT = 128  # rises above the level whose largest a spike must pass: a mixture of batches has its own high marks
AFTER = (10, 20)  # steps after a spike over which its aftermath is taken
MEDIAN_ERROR = 1.2533 / 11**0.5  # standard error of a median of 11 numbers, over their standard deviation
PATIENCE = 200  # steps to wait for a sample of the learning rate before judging without one
WIDE = 1000  # steps (or 5 % of the plan) within which spikes count together


class LossSpike(Detector):
    """The training loss jumps far above its level for more than one step.

    One-sided: a loss that falls is never a spike, and neither is one bad batch that leaves the next step as it was.

    Catches:
        Instability (a learning rate at its peak, Adam's stale second moments), a corrupt batch that moved the weights.

    Formula:
        ``z > limit`` and ``loss - level > 0.3 |level|`` and ``loss - level > min_rise * chance`` and ``loss - level``
        above 1.2 times the largest of the last 128 steps; confirmed by ``z > confirm`` within ``confirm_steps`` steps,
        or by a gradient norm with the same ``z > limit`` against its own past. ``z`` is ``loss/z``. Not recovered: the
        median loss of steps +10 to +20 is above the level before by more than 10 %, 3 standard errors and ``min_rise *
        chance``.

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
        confirmed (info, at most ``confirm_steps`` after the spike; ``step`` is the spike's own); a warning when it has
        not recovered 20 steps later, held until it does, or at ``repeats`` spikes. Info only while the learning rate
        has just been more than doubled and is still up (a warm restart).

    False alarms:
        FALSE_ALARMS

    Cost:
        0.9 µs a step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge import Judge
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

    def __init__(
        self,
        limit: float = 8.0,
        confirm: float = 4.0,
        confirm_steps: int = 2,
        min_rise: float = 0.05,
        repeats: int = 3,
        start_steps: int = 32,
    ) -> None:
        self.limit = number("limit", limit, 1)
        self.confirm = number("confirm", confirm, 0)
        self.confirm_steps = whole("confirm_steps", confirm_steps, 1, 20)
        self.min_rise = number("min_rise", min_rise, 0)
        self.repeats = whole("repeats", repeats, 2)
        self.start_steps = whole("start_steps", start_steps, 10)
        super().__init__()

    def _reset(self) -> None:
        self._phase = "calm"  # calm, seen (one high loss), confirmed, stuck (not recovered)
        self._spike: dict[str, Any] = {}
        self._after: list[float] = []
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._spikes: list[int] = []  # steps of the last confirmed ones
        self._gradient = LossHealth()  # the same statistics, over the gradient norm
        self._gradient_jump = -1  # step of its last outlier
        self._rates = LrWatch()

    def update(self, reading: Reading) -> Finding | None:
        """Judge one loss against the ones before it."""
        values = reading.values
        if "lr" in values:
            self._rates.see(reading)
        if "grad/norm" in values and self._gradient.update(float(values["grad/norm"])).get("loss/z", 0.0) > self.limit:
            self._gradient_jump = reading.step
        loss, z = values.get("loss/train"), values.get("loss/z")
        if loss is None or z is None:
            raise NotMeasurable("the loss is not finite, or fewer than 10 losses were seen")
        if self._phase == "calm":
            if z > self.limit and self._stands_out(reading, float(loss), float(z)):
                self._phase = "seen"
                return self._confirmed(reading) if self._gradient_jump == reading.step else None
            self._recent.append(float(loss) - float(values["loss/level"]))
            return None
        return self._follow(reading, float(loss), float(z))

    def _follow(self, reading: Reading, loss: float, z: float) -> Finding | None:
        """One step after a spike."""
        since = reading.step - self._spike["step"]
        if self._phase == "seen":
            if z > self.confirm or self._gradient_jump >= self._spike["step"]:
                return self._confirmed(reading)
            if since >= self.confirm_steps:
                self._recent.append(self._spike["loss"] - self._spike["level"])
                self._phase = "calm"
            return None
        if self._phase == "confirmed":
            if AFTER[0] <= since <= AFTER[1]:
                self._after.append(loss)
            if since < AFTER[1] or (self._rates.unknown_since(self._spike["step"]) and since < PATIENCE):
                return None
            self._phase = "stuck" if self._after and median(self._after) > self._spike["limit"] else "calm"
        if self._phase == "stuck" and since > 2 * AFTER[1] and reading.values["loss/level"] <= self._spike["limit"]:
            self._phase = "calm"  # recovered after all
        return self._stuck(reading) if self._phase == "stuck" else None

    def _stands_out(self, reading: Reading, loss: float, z: float) -> bool:
        """Whether this loss is a candidate; if so note it."""
        level, relative = float(reading.values["loss/level"]), reading.scalar("loss/relative")
        size = abs(level)
        least = self.min_rise * (abs(level / relative) if relative else 0.0)  # the quotient is the chance loss
        highest = max(self._recent, default=0.0)
        if reading.step < self.start_steps or loss - level <= max(0.3 * size, least, 1.2 * highest):
            return False
        error = float(reading.values["loss/noise"]) * size * MEDIAN_ERROR
        self._spike = {
            "step": reading.step,
            "epoch": reading.epoch,
            "batch": reading.batch_idx,
            "loss": loss,
            "z": z,
            "level": level,
            "limit": level + max(0.1 * size, least, 3 * error),
        }
        return True

    def _confirmed(self, reading: Reading) -> Finding:
        self._phase, self._after = "confirmed", []
        self._spikes = [*self._spikes, self._spike["step"]][-self.repeats :]
        wide = max(WIDE, (reading.facts.planned_steps or 0) // 20)
        if len(self._spikes) == self.repeats and reading.step - self._spikes[0] <= wide:
            return self._finding(reading, Severity.WARNING, f"; that makes {self.repeats} spikes within {wide} steps")
        return self._finding(reading, Severity.INFO, "")

    def _stuck(self, reading: Reading) -> Finding:
        spike, level = self._spike, float(reading.values["loss/level"])
        more = f", and {reading.step - spike['step']} steps later the level is still {level:.4g} (limit "
        f"{spike['limit']:.4g})"
        if not self._rates.raised(spike["step"] - PATIENCE):
            return self._finding(reading, Severity.WARNING, more)
        jump = f", after the learning rate rose from {self._rates.before_jump:.3g} to {self._rates.last:.3g}"
        return self._finding(reading, Severity.INFO, more + jump)

    def _finding(self, reading: Reading, severity: Severity, more: str) -> Finding:
        spike = self._spike
        batch = f" (batch {spike['batch']} of epoch {spike['epoch']})" if spike["batch"] >= 0 else ""
        found = self.found(
            reading,
            severity,
            f"The training loss rose to {spike['loss']:.4g} at step {spike['step']}{batch} from a level of "
            f"{spike['level']:.4g}, z = {spike['z']:.1f} over the limit {self.limit:g}{more}.",
            evidence={
                "value": spike["z"],
                "limit": self.limit,
                "loss": spike["loss"],
                "level_before": spike["level"],
                "batch_idx": spike["batch"],
                "recovered": int(self._phase != "stuck"),
            },
            advice=_advice(spike),
            step=spike["step"],
        )
        return dataclasses.replace(found, step=spike["step"], epoch=spike["epoch"])


def _advice(spike: dict[str, Any]) -> tuple[str, ...]:
    batch = f"batch {spike['batch']} of epoch {spike['epoch']}" if spike["batch"] >= 0 else f"step {spike['step']}"
    return (
        f"look at the samples of {batch}: input norm, length and labels against those of its neighbours; an outlier "
        f"there "
        "is a data fault",
        f"resume from the last checkpoint before step {spike['step']} with another data order: no spike means the "
        f"batch, "
        "the same spike means the optimizer's state",
        "in that resumed run halve the learning rate, or clip the gradient norm at its recorded 90th percentile, one "
        "at a "
        "time; with Adam try beta2 = 0.95 next",
    )
