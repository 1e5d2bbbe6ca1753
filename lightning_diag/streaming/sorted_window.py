"""Quantiles of the last ``length`` numbers of a stream."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from typing import Any


class SortedWindow:
    """The last ``length`` finite numbers, kept sorted: a median costs one index, a push two bisections.

    Args:
        length: window length, at least 1.

    Numbers that are not finite are refused with ``ValueError``: the caller decides what a NaN means.

    >>> w = SortedWindow(3)
    >>> for x in (5.0, 1.0, 3.0, 2.0):
    ...     w.push(x)
    >>> w.median(), w.quantile(1.0), len(w)
    (2.0, 3.0, 3)
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.length = length
        self._reset()

    def _reset(self) -> None:
        self.queue: deque[float] = deque()
        self.sorted: list[float] = []

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def full(self) -> bool:
        """Whether ``length`` numbers were seen."""
        return len(self.queue) == self.length

    def push(self, value: float) -> None:
        """Take in one number; the oldest leaves when the window is full."""
        if value - value != 0.0:  # NaN or infinite: the cheap way to say it
            raise ValueError(f"a window holds finite numbers, got {value}")
        queue, ordered = self.queue, self.sorted
        if len(queue) == self.length:
            del ordered[bisect_left(ordered, queue.popleft())]
        queue.append(value)
        insort(ordered, value)

    def clear(self) -> None:
        """Forget everything."""
        self._reset()

    def median(self) -> float:
        """Return the median (mean of the middle two), or NaN when empty."""
        ordered = self.sorted
        n = len(ordered)
        if n == 0:
            return math.nan
        return 0.5 * (ordered[(n - 1) // 2] + ordered[n // 2])

    def quantile(self, q: float) -> float:
        """Return the ``q``-quantile by linear interpolation (NumPy's default), or NaN when empty."""
        n = len(self.sorted)
        if n == 0:
            return math.nan
        position = q * (n - 1)
        low = int(position)
        high = min(low + 1, n - 1)
        return self.sorted[low] + (position - low) * (self.sorted[high] - self.sorted[low])

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"values": list(self.queue)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.queue = deque(state["values"])
        self.sorted = sorted(self.queue)
