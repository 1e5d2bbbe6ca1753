"""What the learning rate did lately: the trend of a loss can't be judged without it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

RISE = 1.01  # a new peak is at least 1 % higher: schedulers round
JUMP = 2.0  # a rise by more than this between two samples is a restart, not a schedule's slope


class LrWatch:
    """The largest learning rate of all groups: last value, peak, and the steps of its last rise and jump.

    >>> import numpy as np
    >>> watch = LrWatch()
    >>> for step, lr in ((1, 0.01), (10, 0.1), (20, 0.1)):
    ...     watch.see(Reading(step, 0, {"lr": np.array([lr])}))
    >>> watch.peak, watch.peak_step, watch.jump_step, watch.decay
    (0.1, 10, 10, 1.0)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.last = 0.0
        self.peak = 0.0
        self.peak_step = 0  # last step at which it rose above all before
        self.jump_step = -1  # last step at which it was more than twice what it was one sample before
        self.before_jump = 0.0
        self.first_step = -1  # of the first and the last sample
        self.seen_step = -1

    def see(self, reading: Reading) -> None:
        """Take in the learning rates of a reading, if it holds any."""
        rates = reading.vector("lr")
        if rates is None or not rates.size:
            return
        rate = float(rates.max())
        if not math.isfinite(rate):
            return
        if self.first_step < 0:
            self.first_step = reading.step
        if self.last > 0 and rate > JUMP * self.last:
            self.jump_step, self.before_jump = reading.step, self.last
        if rate > RISE * self.peak:
            self.peak, self.peak_step = rate, reading.step
        self.last, self.seen_step = rate, reading.step

    @property
    def decay(self) -> float:
        """Last value over peak; 1 when no learning rate was seen."""
        return self.last / self.peak if self.peak > 0 else 1.0

    def rising(self, step: int, slack: int) -> bool:
        """Whether it reached a new peak, after its first sample, within ``slack`` steps before ``step``."""
        return self.peak_step > self.first_step and step - self.peak_step < slack

    def raised(self, since: int) -> bool:
        """Whether it jumped up at or after ``since`` and is still up."""
        return self.jump_step >= max(since, 0) and self.last > JUMP * self.before_jump

    def unknown_since(self, step: int) -> bool:
        """Whether learning rates are sampled at all, but not since ``step``."""
        return 0 <= self.seen_step < step

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
