"""One array signal over the steps: names x time, bounded in memory, extremes kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_diag.report.series import HUGE, Floats

COLUMNS = 512  # columns kept at most; once full, neighbours are joined


@dataclass(frozen=True)
class Columns:
    """A grid as arrays. R rows (names), C columns (ranges of steps).

    Attributes:
        first: first step of each column. Shape ``(C,)``.
        last: last step of each column. Shape ``(C,)``.
        low: lowest finite value in the column, NaN where there is none. Shape ``(C, R)``.
        high: highest finite value. Shape ``(C, R)``.
        bad: whether a value was not finite. Shape ``(C, R)``.
        seen: whether the row was measured at all. Shape ``(C, R)``.
    """

    first: Floats
    last: Floats
    low: Floats
    high: Floats
    bad: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    def only(self, rows: NDArray[np.intp]) -> Columns:
        """Return the same with these rows."""
        low, high, bad, seen = self.low[:, rows], self.high[:, rows], self.bad[:, rows], self.seen[:, rows]
        return Columns(self.first, self.last, low, high, bad, seen)


class Grid:
    """Takes one array a measured step; joins neighbouring columns once there are too many.

    A column holds the lowest and the highest finite value of each row, so that joining loses no spike and no collapse.
    Infinite values, and NaN unless ``nan_is_missing``, are marked as bad; a shorter array leaves its last rows
    unmeasured.

    >>> g = Grid(columns=2)
    >>> for step in range(1, 6):
    ...     g.add(step, np.array([step, np.nan if step == 2 else 1.0]))
    >>> c = g.columns()
    >>> c.first.tolist(), c.last.tolist(), c.high[:, 0].tolist(), c.bad[:, 1].tolist()
    ([1.0, 5.0], [4.0, 5.0], [4.0, 5.0], [True, False])
    """

    def __init__(self, nan_is_missing: bool = False, columns: int = COLUMNS) -> None:
        self.nan_is_missing = nan_is_missing
        self.limit = 2 * max(1, columns // 2)
        self.rows = 0
        self._each = 1  # arrays that make one column
        self._count = 0  # arrays in the last column
        self._first: list[int] = []
        self._last: list[int] = []
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._bad: list[NDArray[np.bool_]] = []

    def __len__(self) -> int:
        return len(self._first)

    def add(self, step: int, values: Floats) -> None:
        """Take the values of one step, which isn't before the last. Shape ``(R,)``; R may grow."""
        if self._last and step < self._last[-1]:
            return  # the record is damaged there
        flat = np.asarray(values, dtype=np.float64).ravel()
        flat = np.where(np.isfinite(flat), np.clip(flat, -HUGE, HUGE), flat)
        self.rows = max(self.rows, len(flat))
        finite = np.isfinite(flat)
        low, high = np.where(finite, flat, np.inf), np.where(finite, flat, -np.inf)
        bad = np.isinf(flat) if self.nan_is_missing else ~finite
        if self._count and self._count < self._each:
            self._join(-1, step, low, high, bad)
            self._count += 1
            return
        if len(self._first) == self.limit:
            self._halve()
        self._first.append(step)
        self._last.append(step)
        self._low.append(low)
        self._high.append(high)
        self._bad.append(bad)
        self._count = 1

    def columns(self) -> Columns:
        """Return what was taken, as arrays."""
        shape = (len(self._first), self.rows)
        low, high = np.full(shape, np.nan), np.full(shape, np.nan)
        bad, seen = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for i, (lows, highs, bads) in enumerate(zip(self._low, self._high, self._bad, strict=True)):
            size = len(lows)
            low[i, :size] = np.where(np.isinf(lows), np.nan, lows)
            high[i, :size] = np.where(np.isinf(highs), np.nan, highs)
            bad[i, :size], seen[i, :size] = bads, True
        return Columns(np.array(self._first, float), np.array(self._last, float), low, high, bad, seen)

    def _join(self, at: int, step: int, low: Floats, high: Floats, bad: NDArray[np.bool_]) -> None:
        self._last[at] = step
        size = max(len(low), len(self._low[at]))
        self._low[at] = np.minimum(_pad(self._low[at], size, np.inf), _pad(low, size, np.inf))
        self._high[at] = np.maximum(_pad(self._high[at], size, -np.inf), _pad(high, size, -np.inf))
        self._bad[at] = _pad(self._bad[at], size, 0).astype(bool) | _pad(bad, size, 0).astype(bool)

    def _halve(self) -> None:
        for i in range(1, len(self._first), 2):
            self._join(i - 1, self._last[i], self._low[i], self._high[i], self._bad[i])
        for columns in (self._first, self._last, self._low, self._high, self._bad):
            del columns[1::2]
        self._each *= 2


def narrow(columns: Columns, limit: int) -> Columns:
    """Join neighbouring columns until at most ``limit`` are left."""
    each = -(-len(columns.first) // limit)
    if each <= 1:
        return columns
    starts = np.arange(0, len(columns.first), each)
    ends = np.minimum(starts + each, len(columns.first)) - 1
    low = np.minimum.reduceat(np.where(np.isnan(columns.low), np.inf, columns.low), starts)
    high = np.maximum.reduceat(np.where(np.isnan(columns.high), -np.inf, columns.high), starts)
    return Columns(
        columns.first[starts],
        columns.last[ends],
        np.where(np.isinf(low), np.nan, low),
        np.where(np.isinf(high), np.nan, high),
        np.logical_or.reduceat(columns.bad, starts),
        np.logical_or.reduceat(columns.seen, starts),
    )


def _pad(array: NDArray[np.generic], size: int, fill: float) -> Floats:
    if len(array) == size:
        return np.asarray(array, dtype=np.float64)
    padded: Floats = np.r_[np.asarray(array, dtype=np.float64), np.full(size - len(array), fill)]
    return padded
