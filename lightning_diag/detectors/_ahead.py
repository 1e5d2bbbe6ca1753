"""Whether the weights only go straight ahead while most of the loss is left: no step was large enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_diag.detectors._line import Line
from lightning_diag.detectors._trend import of_task, reference
from lightning_diag.detectors._way import Way
from lightning_diag.detectors._words import percent
from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

# shares of the plan: the line is judged from the first on, the way from the second, both until the last
FIRST, EARLY, HALFWAY, LATE = 0.15, 0.3, 0.5, 0.6
LEAST_PLAN = 300  # steps of a plan that is judged: the first 90 of a healthy run may go straight ahead
GROWN = 1.5  # growth of the weights from which a straight way means that they were thrown far out, or began at nothing
# what is left of the loss at 0.3 and at half of the plan where steps are large enough: classes, numbers, language. The
# slowest healthy runs of the development set had 0.62 and 0.46, 0.87 and 0.72, 0.82 and 0.75.
LEFT = ((0.72, 0.4), (0.95, 0.86), (0.845, 0.77))
# what is left at 0.15, at 0.3 and at half of it, where the loss still falls along a line
FALLING = ((0.97, 0.82, 0.55), (0.9, 0.55, 0.45), (0.97, 0.88, 0.78))
# a regression has less left than its trivial guess suggests: from 0.4 of a plan of 500 steps on, where no healthy one
# had a way straighter than 0.54, what counts as learned is the limit
MIDDLE, TURNING_PLAN = 0.4, 500


@dataclass(frozen=True)
class Sign:
    """That steps are too small.

    Attributes:
        text: what was seen, a sentence.
        evidence: ``value``, ``limit``, ``relative_loss``, ``relative_limit`` and what else was measured.
        longer: by how much longer steps would be worth a trial.
    """

    text: str
    evidence: dict[str, float]
    longer: float


class Ahead:
    """Two ways to see it: the whole way was straight, or the loss falls in a straight line along the newest part of it.

    Args:
        straight: distance over length of the way from which it is straight.
        line: q of :class:`Line`, less two standard errors, from which the loss falls in a line.
        learned: what of a regression's loss may be left late in its plan.
    """

    def __init__(self, straight: float = 0.7, line: float = 0.4, learned: float = 0.2) -> None:
        self._limits = straight, line, learned
        self.way = Way()
        self.line = Line()

    def see(self, reading: Reading) -> None:
        """Take in a sampled step."""
        self.way.see(reading)
        self.line.see(reading)

    def sign(self, reading: Reading, relative: float) -> Sign | None:
        """Judge the run so far; None where there is no sign, or where nothing can be said.

        Args:
            reading: says how far the plan is done, and what kind of task it is.
            relative: the loss's level over chance.
        """
        progress, unit = reading.progress, reference(reading)
        if progress is None or progress < FIRST or (reading.facts.planned_steps or 0) < LEAST_PLAN:
            return None
        if unit is None or not unit.known:
            return None
        left = unit.relative(relative * unit.chance)
        return self._falling(reading, progress, left) or self._straight(reading, progress, left)

    def _falling(self, reading: Reading, progress: float, left: float) -> Sign | None:
        line, least = self.line, self._limits[1]
        limit = float(np.interp(progress, (FIRST, EARLY, HALFWAY), of_task(reading, *FALLING)))
        if not (line.surely > least and left > limit):
            return None
        return Sign(
            f"The loss falls along a straight line: the gradients foretold {percent(line.straight)} of its fall along "
            f"the way just gone (surely {percent(line.surely)}, limit {percent(least)}; where steps are large enough "
            f"it is nothing), and at {percent(progress)} of the plan {percent(left)} of the loss is left (limit "
            f"{percent(limit)}).",
            {"value": line.surely, "limit": least, "foretold": line.straight, **_rest(left, limit)},
            line.longer,
        )

    def _straight(self, reading: Reading, progress: float, left: float) -> Sign | None:
        if progress < EARLY:
            return None
        way, (straight, _, learned) = self.way, self._limits
        limit = float(np.interp(progress, (EARLY, HALFWAY), of_task(reading, *LEFT)))
        planned = reading.facts.planned_steps or 0
        if reading.facts.task == "regression" and progress >= MIDDLE and planned >= TURNING_PLAN:
            limit = learned
        if not (way.straight > straight and way.grown < GROWN and left > limit):
            return None
        return Sign(
            f"The weights have gone straight ahead since the start: their distance from it is {percent(way.straight)} "
            f"of the way they went (median over weight matrices, limit {percent(straight)}), so no step was large "
            f"enough to overshoot, and at {percent(progress)} of the plan {percent(left)} of the loss is left (limit "
            f"{percent(limit)}).",
            {"value": way.straight, "limit": straight, **_rest(left, limit)},
            3.0,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self, frozenset({"_limits"}))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)


def _rest(left: float, limit: float) -> dict[str, float]:
    return {"relative_loss": left, "relative_limit": limit}
