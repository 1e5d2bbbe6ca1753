"""When to sample, and what it costs: the one place that decides."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, Literal

from lightning_diag.errors import ConfigurationError

GRACE_S = 0.5  # seconds of own time the denser start may take before the budget binds
DENSE_S = 1.0  # seconds of training in which every step is sampled, within that
EARLY_SHARE = 0.02  # share of step time the rest of the start may take: slow steps make half a second last long
DENSE_STEPS = 32  # steps sampled at the start when ranks must agree without a clock
RANKS_INTERVAL = 32  # and the interval after them, until they agree on another
RANKS_SETTLED = 8  # samples after that before another is asked for
CLOSE_STEPS = 20  # steps sampled one by one after something bad was found
CLOSE_TIMES = 3  # times in a run ...
CLOSE_S = 0.25  # ... and seconds of own time above the budget these may take
MAX_INTERVAL = 1000
MAX_RANKS_INTERVAL = 512
LOWER = 0.35  # share of the present interval under which processes agree on a shorter one: half of it, and some room
HEADROOM = (
    0.8  # share of the budget to plan for: caches that a sample emptied cost the user's code time nobody measures
)
DEVICE_STEPS = 9  # newest sampled and plain steps whose times on the device are compared
SMOOTHING = 0.2  # weight of the newest sample in the running means of costs


class Schedule:
    """Chooses the sampled steps so that own time stays within ``budget`` of step time.

    A given ``every_n_steps`` is kept. ``auto`` samples every step in the first second of training, may take 2 % of step
    time until half a second is spent, and ``budget`` from then on: one in every
    ``ceil(cost of a sampled step / (what is left of the budget * step time))`` steps. With several processes clocks
    differ, so ``auto`` is dense for 32 steps and every 32 after, until the first process asks for a power of two that
    keeps the budget (:meth:`wanted`) and all follow it from one step on (:meth:`agree`). After a finding of warning or
    worse a single process samples the next 20 steps one by one, three times a run, while that takes less than a quarter
    of a second.

    Args:
        every_n_steps: ``auto`` or a number of steps, at least 1.
        budget: share of step time own work may take, above 0 and at most 1.
        world_size: number of processes.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    def __init__(
        self, every_n_steps: int | Literal["auto"] = "auto", budget: float = 0.01, world_size: int = 1
    ) -> None:
        given: object = every_n_steps  # whatever a user may hand over
        if given != "auto" and (not isinstance(given, int) or given < 1):
            raise ConfigurationError(f"every_n_steps must be 'auto' or an integer of at least 1, got {every_n_steps!r}")
        if not 0 < budget <= 1:
            raise ConfigurationError(f"budget must be above 0 and at most 1, got {budget!r}")
        self.every_n_steps = every_n_steps
        self.budget = budget
        self.world_size = world_size
        self.interval = every_n_steps if isinstance(every_n_steps, int) else 1
        self.next = 0
        self.spent_s = 0.0
        self.elapsed_s = 0.0
        self._once_s = 0.0
        self._sample_s = math.nan
        self._plain_s = math.nan
        self._late_s = math.nan
        self._step_s = math.nan
        self._samples = 0
        self._warm = False  # whether a step was sampled since the start or the resume
        self._agreed = (0, RANKS_INTERVAL)  # the step from which several processes take the interval, and it
        self._before = RANKS_INTERVAL
        self._settled = 0  # samples at the last agreement
        self._close_until = -1
        self._close_times = 0
        self._device: dict[bool, deque[float]] = {kind: deque(maxlen=DEVICE_STEPS) for kind in (False, True)}

    def due(self, step: int) -> bool:
        """Whether this step is to be sampled."""
        return step >= self.next

    @property
    def overhead_frac(self) -> float:
        """Own time over step time so far, of host or device, whichever is more in a sample; 0 before the first step."""
        return self.spent_s / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def done(
        self, step: int, *, sampled: bool, own_s: float, step_s: float, late_s: float = 0.0, late_steps: int = 0,
        steps: int = 1,
    ) -> None:  # fmt: skip
        """Book a finished step, or several that were not sampled.

        Args:
            step: its number.
            sampled: whether it was sampled.
            own_s: our own seconds in it.
            step_s: its whole seconds, ours included.
            late_s: the part of ``own_s`` that went into earlier steps that had waited.
            late_steps: how many those were.
            steps: how many are booked; ``step`` is the last of them, the seconds are those of all.
        """
        spent_s = own_s - late_s
        if sampled and self.device_sample_s > spent_s:  # NaN where there is no device: False
            spent_s = self.device_sample_s
        self.spent_s += spent_s
        self.elapsed_s += step_s
        self._step_s = _mean(self._step_s, (step_s - own_s) / steps, steps)
        self.late(late_s, late_steps)
        if not sampled:
            self._plain_s = _mean(self._plain_s, spent_s / steps, steps)
            return
        if self._warm:
            self._sample_s = _mean(self._sample_s, spent_s)
        else:  # the first tells nothing of the next: what is done once a run is done in it
            self._once_s = spent_s
        self._samples += 1
        self._warm = True
        self.interval = self._chosen(step)
        self.next = step + self.interval

    def look_closely(self, step: int) -> None:
        """Something bad was found at this step: ``auto`` samples each of the next ones, in a single process."""
        if self.every_n_steps == "auto" and self.world_size == 1 and self._close_times < CLOSE_TIMES:
            if step >= self._close_until:
                self._close_times += 1
                self._close_until = step + CLOSE_STEPS
            self.next = min(self.next, step + 1)

    def late(self, seconds: float, steps: int) -> None:
        """Book our own seconds for steps that had waited."""
        if steps:
            self.spent_s += seconds
            self._late_s = _mean(self._late_s, seconds / steps)

    def device(self, seconds: float, *, sampled: bool) -> None:
        """Book how long a step took on the device."""
        self._device[sampled].append(seconds)

    @property
    def device_sample_s(self) -> float:
        """What a sample adds to a step on the device: median of sampled steps less that of plain ones; NaN unknown.

        Host work hides behind kernels, or kernels behind the host, so what costs time is the longer of both.
        """
        plain, sampled = self._device[False], self._device[True]
        if min(len(plain), len(sampled)) < 3:
            return math.nan
        return max(0.0, median(sampled) - median(plain))

    def wanted(self) -> int | None:
        """Return the interval that keeps the budget of several processes, where it is clearly another; else None."""
        if self.every_n_steps != "auto" or self.world_size < 2 or self._samples < DENSE_STEPS + RANKS_SETTLED:
            return None
        if self._samples < self._settled + RANKS_SETTLED:
            return None
        needed, present = self._affordable(HEADROOM * self.budget), self._agreed[1]
        power = min(1 << (needed - 1).bit_length(), MAX_RANKS_INTERVAL)
        return power if power > present or needed <= LOWER * present else None

    def agree(self, step: int, interval: int) -> None:
        """Take another interval from the first sampled step on that isn't before ``step``."""
        if (step, interval) != self._agreed:
            self._before, self._agreed, self._settled = self._agreed[1], (step, interval), self._samples

    def _chosen(self, step: int) -> int:
        if isinstance(self.every_n_steps, int):
            return self.every_n_steps
        if self.world_size > 1:
            if self._samples < DENSE_STEPS:
                return 1
            return self._agreed[1] if step >= self._agreed[0] else self._before
        if step < self._close_until and self.spent_s < self.budget * self.elapsed_s + GRACE_S + CLOSE_S:
            return 1
        share = HEADROOM * self.budget
        if self.spent_s - self._once_s < GRACE_S:
            if self.elapsed_s < DENSE_S:
                return 1
            share = max(share, EARLY_SHARE)
        return self._affordable(share)

    def _affordable(self, share: float) -> int:
        if math.isnan(self._sample_s):
            return 1
        plain = sum(s for s in (self._plain_s, self._late_s) if not math.isnan(s))
        left = max(share * self._step_s - plain, 0.5 * share * self._step_s, 1e-9)
        return min(MAX_INTERVAL, max(1, math.ceil((self._sample_s - plain) / left)))

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        close = [self._close_until, self._close_times]
        return {"interval": self.interval, "next": self.next, "samples": self._samples, "spent_s": self.spent_s,
                "elapsed_s": self.elapsed_s, "agreed": self._agreed[1], "close": close,
                "costs": [self._sample_s, self._plain_s, self._late_s, self._step_s]}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.interval = int(state["interval"])
        self.next = int(state["next"])
        self._samples = int(state["samples"])
        self._agreed = (0, int(state.get("agreed", RANKS_INTERVAL)))
        self.spent_s = float(state["spent_s"])
        self.elapsed_s = float(state["elapsed_s"])
        self._close_until, self._close_times = map(int, state.get("close", (-1, 0)))
        self._sample_s, self._plain_s, self._late_s, self._step_s = state.get("costs", (math.nan,) * 4)
        self._warm = False


def _mean(old: float, new: float, times: int = 1) -> float:
    """Smooth; the new value may be that of several in a row."""
    weight = SMOOTHING if times == 1 else 1 - (1 - SMOOTHING) ** times
    return new if math.isnan(old) else (1 - weight) * old + weight * new
