"""The whole loss curve in bounded memory, and the straight line through its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.streaming.state import restore, snapshot

BUCKETS = 256  # most means kept; between half of it and all of it once the run is longer
GROUPS = 12  # groups of a median of means
OUTLYING = 4.0  # robust standard deviations beyond which a mean is pulled in before the line is fitted


@dataclass(frozen=True)
class Trend:
    """A straight line through means of the loss.

    Attributes:
        level: median of the means of (up to) 12 equal parts: a mean that one spike can't move.
        mean: plain mean.
        error: standard error of ``mean``, from successive differences; ``inf`` with fewer than 8 means.
        change: slope times length: how much the line rises over the window, in units of the loss.
        se: standard error of ``change``; ``inf`` with fewer than 8 means.
        steps: steps in the window.
    """

    level: float
    mean: float
    error: float
    change: float
    se: float
    steps: int

    @property
    def t(self) -> float:
        """``change / se``; 0 where both are 0 or ``se`` is infinite."""
        if self.se > 0:
            return self.change / self.se
        return math.copysign(math.inf, self.change) if self.change else 0.0


class LossTrace:
    """Means of equally many successive losses over the whole run: 128 to 256 of them, whatever its length.

    When all places are taken, neighbours are joined and the width doubles. A push costs two additions.

    >>> trace = LossTrace()
    >>> for step in range(1000):
    ...     trace.push(1000.0 - step)
    >>> trace.width, len(trace.means), round(trace.trend(500).change)
    (4, 250, -500)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.width = 1
        self.means: list[float] = []
        self._sum = 0.0
        self._pending = 0

    def __len__(self) -> int:
        return self.width * len(self.means) + self._pending

    def push(self, loss: float) -> None:
        """Take in one finite loss."""
        self._sum += loss
        self._pending += 1
        if self._pending == self.width:
            self.means.append(self._sum / self.width)
            self._sum, self._pending = 0.0, 0
            if len(self.means) == BUCKETS:
                self.means = [0.5 * (a + b) for a, b in zip(self.means[::2], self.means[1::2], strict=True)]
                self.width *= 2

    def tail(self, steps: int) -> NDArray[np.float64]:
        """Return the means of the last ``steps`` losses (rounded up to whole means), shape ``(n,)``, oldest first."""
        wanted = max(1, math.ceil(steps / self.width))
        return np.asarray(self.means[-wanted:], dtype=np.float64)

    def trend(self, steps: int) -> Trend:
        """Return the line through the last ``steps`` losses."""
        return trend(self.tail(steps), self.width)

    def best(self, steps: int) -> float:
        """Return the lowest mean over ``steps`` successive losses anywhere in the run; NaN when it is shorter."""
        k = max(1, math.ceil(steps / self.width))
        if len(self.means) < k:
            return math.nan
        cumulated = np.concatenate(([0.0], np.cumsum(self.means)))
        return float(np.min(cumulated[k:] - cumulated[:-k]) / k)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)


def trend(means: NDArray[np.float64], width: int = 1) -> Trend:
    """Fit a line by least squares, with outlying means pulled in and an error that knows of autocorrelation.

    Outlying is what lies 4 robust standard deviations off the resistant line (through the medians of the first and the
    last third; Tukey, 1977).

    Args:
        means: shape ``(n,)``, at equal distances.
        width: losses a mean.

    The error is the usual one of a slope times ``sqrt((1 + r) / (1 - r))`` with ``r`` the lag-1 autocorrelation of the
    residuals, kept within 0 and 0.9 (Bartlett's effective sample size).

    >>> trend(np.arange(10.0)).change
    10.0
    """
    n = len(means)
    if n == 0:
        return Trend(math.nan, math.nan, math.inf, math.nan, math.inf, 0)
    level = float(np.median([part.mean() for part in np.array_split(means, min(GROUPS, n))]))
    if n < 8:
        return Trend(level, float(means.mean()), math.inf, 0.0, math.inf, n * width)
    error = float(np.std(np.diff(means))) / math.sqrt(2 * n)
    x = np.arange(n) - 0.5 * (n - 1)
    third = n // 3
    tilt = float(np.median(means[-third:]) - np.median(means[:third])) / (n - third)  # Tukey's resistant line
    residual = means - tilt * x
    middle = float(np.median(residual))
    bound = OUTLYING * 1.4826 * float(np.median(np.abs(residual - middle)))
    pulled = tilt * x + np.clip(residual, middle - bound, middle + bound) if bound > 0 else means
    sxx = float(x @ x)
    slope = float(x @ pulled) / sxx
    residual = pulled - pulled.mean() - slope * x
    variance = float(residual @ residual)
    r = float(residual[:-1] @ residual[1:]) / variance if variance > 0 else 0.0
    r = min(max(r, 0.0), 0.9)
    se = math.sqrt(variance / (n - 2) / sxx * (1 + r) / (1 - r)) * n
    return Trend(level, float(means.mean()), error, slope * n, se, n * width)
