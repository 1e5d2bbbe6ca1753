"""How far the losses of a short training on one batch came down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAST = 5  # losses of which the median is the end


def last_level(curve: NDArray[np.float64]) -> float:
    """Return the median of the last losses.

    >>> last_level(np.array([2.0] * 9 + [0.1]))
    2.0
    """
    return float(np.median(curve[-LAST:]))


def left(curve: NDArray[np.float64]) -> float:
    """Return the share of the first loss that is left at the end; infinite where a loss is lost.

    Below 0 where it fell below 0: how much more can't be said then, nor where it began there.

    >>> left(np.array([2.0] * 5 + [0.5] * 5)), left(np.array([2.0, np.nan])), left(np.array([-1.0, -3.0, -3.0]))
    (0.25, inf, -2.0)
    """
    first, last = float(curve[0]), last_level(curve)
    if not np.isfinite(first) or not np.isfinite(last):
        return float("inf")
    return last / first if first > 0 else last - first


def mean_above(curve: NDArray[np.float64], floor: float) -> float:
    """Return the mean height over a floor, as a share of the first: the area under the curve.

    >>> mean_above(np.array([2.5, 1.5]), 0.5)
    0.75
    """
    height = curve - floor
    return float(np.mean(height / height[0])) if height[0] > 0 else float("nan")
