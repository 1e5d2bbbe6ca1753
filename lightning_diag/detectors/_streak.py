"""Since when something has held for each parameter, at every sample that says anything about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

Mask = NDArray[np.bool_]


def least_steps(steps: int, reading: Reading) -> int:
    """Return ``steps``, an epoch or a quarter of the plan, whichever is least: what a streak must span to count.

    >>> from lightning_diag.reading import Facts
    >>> least_steps(200, Reading(1, 0, {}, Facts(planned_steps=10**6, steps_per_epoch=50)))
    50
    """
    facts = reading.facts
    return min(steps, facts.steps_per_epoch or steps, facts.planned_steps // 4 if facts.planned_steps else steps)


class Streak:
    """Per parameter the first step and the number of samples of its present streak.

    >>> import numpy as np
    >>> s = Streak()
    >>> for step, holds in ((1, [1, 1]), (5, [1, 0]), (9, [1, 1])):
    ...     s.see(step, np.array(holds, bool))
    >>> s.count.tolist(), s.lasting(9, samples=3, steps=9).tolist()
    ([3, 1], [True, False])
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.count = np.zeros(0, np.int64)
        self.since = np.zeros(0, np.int64)

    def see(self, step: int, holds: Mask, known: Mask | None = None) -> None:
        """Take in one sample ``(P,)``; where ``known`` is False the streak neither grows nor ends.

        Another number of parameters starts anew.
        """
        if holds.shape != self.count.shape:
            self.count = np.zeros(holds.shape, np.int64)
            self.since = np.zeros(holds.shape, np.int64)
        if known is None:
            known = np.ones_like(holds)
        starts = holds & known & (self.count == 0)
        self.since[starts] = step
        self.count += holds & known
        self.count[known & ~holds] = 0

    def lasting(self, step: int, *, samples: int, steps: int) -> Mask:
        """Return where it has held for at least so many samples over at least so many steps."""
        return (self.count >= samples) & (step - self.since + 1 >= steps)

    def first(self, mask: Mask) -> int:
        """Return the first step of the oldest streak within ``mask``."""
        return int(self.since[mask].min())

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
