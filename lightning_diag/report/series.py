"""One scalar signal over the steps, kept small so that every spike stays visible."""

from __future__ import annotations

import math
from array import array

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HUGE = 1e300  # larger values are drawn as this, so that sums and differences of two stay finite
KEPT = 1 << 18  # points kept at full resolution; past it, pairs of buckets keep their lowest and highest point


class Series:
    """Step and value of a scalar signal in the order of their steps, bounded in memory.

    Non-finite values are kept apart as ranges of steps (``bad``): a line can't show them, but they must be seen.

    >>> s = Series()
    >>> for step, value in enumerate([1.0, 2.0, float("nan"), float("inf"), 3.0]):
    ...     s.add(step, value)
    >>> s.steps.tolist(), s.values.tolist(), s.bad
    ([0.0, 1.0, 4.0], [1.0, 2.0, 3.0], [[2, 3]])
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.kept = kept
        self.bad: list[list[int]] = []
        self.thinned = False
        self._steps = array("d")
        self._values = array("d")
        self._fresh = True  # whether the last reading of this signal was finite

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> Floats:
        """Steps of the finite values, ascending. Shape ``(T,)``."""
        return np.array(self._steps, dtype=np.float64)

    @property
    def values(self) -> Floats:
        """The finite values. Shape ``(T,)``."""
        return np.array(self._values, dtype=np.float64)

    def add(self, step: int, value: float) -> None:
        """Take one value; one of an earlier step than the last is left out (the record is damaged there)."""
        if self._steps and step < self._steps[-1]:
            return
        if not math.isfinite(value):
            if self.bad and not self._fresh:
                self.bad[-1][1] = step
            else:
                self.bad.append([step, step])
            self._fresh = False
            return
        self._fresh = True
        self._steps.append(step)
        self._values.append(min(max(value, -HUGE), HUGE))
        if len(self._steps) > self.kept:
            steps, values = minmax(self.steps, self.values, self.kept // 4)
            self._steps, self._values = array("d", steps.tolist()), array("d", values.tolist())
            self.thinned = True


def minmax(steps: Floats, values: Floats, buckets: int) -> tuple[Floats, Floats]:
    """Keep the lowest and the highest point of each of ``buckets`` equal ranges of steps, and both ends.

    So no spike is lost, whatever the zoom (the M4 idea of Jugel et al., "M4: a visualization-oriented time series
    data aggregation", VLDB 2014). Points are returned where and as they were measured, at most ``2 * buckets + 2``.

    >>> t = np.arange(1000.0); y = np.zeros(1000); y[617] = 9.0
    >>> steps, values = minmax(t, y, 10)
    >>> len(steps) <= 22, float(values.max()), float(steps[values.argmax()])
    (True, 9.0, 617.0)
    """
    if len(steps) <= 2 * buckets + 2:
        return steps, values
    span = max(steps[-1] - steps[0], 1.0)
    bucket = np.minimum(((steps - steps[0]) / span * buckets).astype(np.int64), buckets - 1)
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    order = np.lexsort((values, bucket))  # within a bucket by value: its first is the lowest, its last the highest
    lowest, highest = order[starts], order[np.r_[starts[1:], len(steps)] - 1]
    keep = np.unique(np.r_[0, lowest, highest, len(steps) - 1])
    return steps[keep], values[keep]


def level(steps: Floats, values: Floats, window: int = 32) -> tuple[Floats, Floats]:
    """Median of ``window`` points around each: the line through a noisy loss. Shapes ``(T - window + 1,)``.

    >>> level(np.arange(5.0), np.array([1.0, 1.0, 9.0, 1.0, 1.0]), 3)
    (array([1., 2., 3.]), array([1., 1., 1.]))
    """
    if len(steps) < window:
        return steps[:0], values[:0]
    windows = np.lib.stride_tricks.sliding_window_view(values, window)
    centre = (window - 1) // 2
    return steps[centre : centre + len(windows)], np.median(windows, axis=-1)
