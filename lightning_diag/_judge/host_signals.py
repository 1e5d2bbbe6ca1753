"""What the host adds to a reading before it is judged: how the loss is doing, what follows from counts and norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightning_diag._judge.by_optimizer import update_ratios
from lightning_diag.reading import NO_LOSSES, Facts, Reading
from lightning_diag.streaming import LossHealth, LossTrace

FALLING = ("loss/best", "loss/relative")  # losses that compete need not fall: these say nothing of them then


class HostSignals:
    """Makes the host's signals, reading by reading.

    Attributes:
        health: level, noise and outliers of the loss.
        curve: all finite losses, which readings bring to the rules over a trend.
    """

    def __init__(self) -> None:
        self.health = LossHealth()
        self.curve = LossTrace()

    def enrich(self, reading: Reading) -> Reading:
        """Return the reading with the host's signals; itself where there are none."""
        values, curve = reading.values, NO_LOSSES
        made: dict[str, Any] = {}
        if "loss/train" in values:
            curve = self._of_loss(float(values["loss/train"]), reading.facts, made)
        if "class/support" in values and "class/right" in values:
            support, right = reading.vector("class/support"), reading.vector("class/right")
            assert support is not None and right is not None
            with np.errstate(invalid="ignore"):
                made["class/error"] = 1 - right / np.where(support > 0, support, np.nan)
        if "grad/optimizer_norm" in values:
            made.update(update_ratios(reading))
        if not made:
            return reading
        # dataclasses.replace costs twice as much
        step, epoch, batch = reading.step, reading.epoch, reading.batch_idx
        return Reading(step, epoch, {**values, **made}, reading.facts, batch, reading.stage, curve)

    def of_loss(self, step: int, epoch: int, batch_idx: int, loss: float, facts: Facts) -> Reading:
        """Return the enriched reading of a training step that brought nothing but its loss: most of a run."""
        values: dict[str, Any] = {"loss/train": loss}
        curve = self._of_loss(loss, facts, values)
        return Reading(step, epoch, values, facts, batch_idx, "train", curve)

    def _of_loss(self, loss: float, facts: Facts, made: dict[str, Any]) -> LossTrace:
        """Put what is made of a loss into a dict; return the curve, which an infinite one doesn't belong to."""
        if "loss/level" not in self.health.update(loss, facts.chance_loss, made):
            return NO_LOSSES
        self.curve.push(loss)
        if facts.competing:
            for name in FALLING:
                made.pop(name, None)
        return self.curve
