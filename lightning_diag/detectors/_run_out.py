"""A learning rate that has decayed to nothing long before the plan ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors._words import percent
from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

GONE = 1e-3  # share of its peak below which it is over: no schedule of the fault zoo has less than 0.01 before the end
EARLY = 0.5  # share of the plan by which that is early
EPOCHS = 5  # ... and epochs: what waits for a plateau of the loss needs more of them
DEEP = 1e-6  # a cosine is as low for less than a thousandth of its length: one sample is enough
LASTS = 0.05  # share of the plan for which it must last: restarts come down for less


class RunOut:
    """Since when the learning rate has been below a thousandth of its peak, if that came early.

    A schedule that is written in epochs and steps once a step gets there within few epochs.

    >>> import numpy as np
    >>> from lightning_diag.reading import Facts
    >>> out, rates, facts = RunOut(), LrWatch(), Facts(planned_steps=1000)
    >>> for step in range(1, 201):
    ...     reading = Reading(step, step // 100, {"lr": np.array([0.1 * 0.9**step])}, facts)
    ...     rates.see(reading)
    ...     out.see(reading, rates)
    >>> out.step, out.early(reading, rates)
    (67, True)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.step = -1
        self._soon = False
        self._samples = 0  # since then
        self._last = [0.0, 1.0]  # step and share of the peak of the last sample before

    def see(self, reading: Reading, rates: LrWatch) -> None:
        """Take in where the learning rate stands."""
        share = rates.decay
        if share >= GONE:
            self.step, self._soon, self._samples, self._last = -1, False, 0, [reading.step, share]
            return
        if self.step < 0:
            self.step, facts = self._passed(reading.step, share), reading.facts
            epoch = self.step / facts.steps_per_epoch if facts.steps_per_epoch else reading.epoch
            self._soon = self.step <= EARLY * (facts.planned_steps or 0) and epoch < EPOCHS
        self._samples += 1

    def early(self, reading: Reading, rates: LrWatch) -> bool:
        """Whether it was over early, and has been for a while."""
        sure = self._samples > 1 or rates.decay < DEEP
        return self._soon and sure and reading.step - self.step >= LASTS * (reading.facts.planned_steps or 0)

    def _passed(self, step: int, share: float) -> int:
        """The step at which it fell below, between two samples."""
        before, above = self._last
        part = math.log(above / GONE) / math.log(above / max(share, 1e-30))
        return math.ceil(before + part * (step - before))

    def in_words(self, reading: Reading, rates: LrWatch) -> str:
        """The beginning of a sentence."""
        since = f"since step {self.step} of {reading.facts.planned_steps}"
        return f"The learning rate has been below {percent(GONE)} of its peak of {rates.peak:.2g} {since}"

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
