"""The series of one validation metric: its best, its jitter, and whether it has become worse for good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import Any

from lightning_diag.reading import Reading
from lightning_diag.streaming.sorted_window import SortedWindow
from lightning_diag.streaming.state import restore, snapshot

JITTER = 32  # differences the jitter is taken from
SHORT = 16  # values up to which a series is short
RISES = 2.0  # standard deviations more that the last of several rises in a row must be above the best
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
        self._seconds, self._thirds = SortedWindow(JITTER), SortedWindow(JITTER)

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
        if len(self.last) >= 4:
            a, b, c, d = self.last[-4:]
            self._thirds.push(abs(a - 3 * b + 3 * c - d))
        if value < self.best:
            self.best, self.best_step = value, step

    @property
    def short(self) -> bool:
        """Whether there are so few values that most of them may lie where the curve bends."""
        return self.count <= SHORT

    @property
    def jitter(self) -> float:
        """Robust standard deviation of one value around a smooth curve; inf while fewer than 3 can say.

        From n second differences, raised by ``4 / n`` for the error of the estimate; from third ones (``6 / n``) while
        the series is short: a curve that bends leaves them small.
        """
        differences, variance, raised = (self._thirds, 20, 6) if self.short else (self._seconds, 6, 4)
        n = len(differences)
        return 1.4826 * differences.median() / math.sqrt(variance) * (1 + raised / n) if n >= 3 else math.inf

    def worse(self, evals: int, least: float, noise: float = 0.0) -> float | None:
        """Return the limit that all of the last ``evals`` values pass, or None.

        The limit is ``floor + max(least, k * noise)``, ``k = 2 + sqrt(2 log n)`` after ``n`` values (the lowest of n
        is low by luck). In a short series it is enough that the last of as many rises in a row passes it with ``k``
        greater by 2. On pure noise that passes in 0.4 to 0.9 % of 2,000 runs of 12 values, in 0.7 to 1.2 % of 20 or 60
        (Gaussian and log-normal) and in 0.6 to 1.4 % with the tails of Student's t of 3 degrees; in 1 to 7 % of 200.

        Args:
            evals: values in a row.
            least: smallest difference to the best that counts.
            noise: smallest standard deviation of one value.
        """
        if self.count <= evals:
            return None
        luck = 2 + math.sqrt(2 * math.log(self.count))
        sd, lately = max(self.jitter, noise), self.last[-evals - 1 :]
        limit = self.floor + max(least, luck * sd)
        if min(lately[1:]) > limit:
            return limit
        limit = self.floor + max(least, (luck + RISES) * sd)
        rising = self.short and all(a < b for a, b in pairwise(lately))
        return limit if rising and lately[-1] > limit else None

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)


def accuracy_error(reading: Reading, accuracy: float) -> float:
    """Standard error of an accuracy, with one success and one failure added; inf when the samples are not known."""
    samples = reading.scalar("val/samples")
    if not samples or samples < 1:
        return math.inf
    share = (accuracy * samples + 1) / (samples + 2)
    return math.sqrt(share * (1 - share) / samples)
