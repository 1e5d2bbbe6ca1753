"""How much each weight has grown over the last so many steps, whatever the steps it was sampled at."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightning_diag.reading import Value


class Growth:
    """log10 of weights now over ``span`` steps ago, interpolated between samples.

    Over less while the stream is younger. Keeps as many samples as lie within ``span`` steps, and one before.

    >>> g = Growth(30)
    >>> for step in range(1, 101, 10):
    ...     grown = g.see(step, np.array([10.0 ** (step / 30), 1.0]))
    >>> grown.round(2).tolist(), len(g.steps)
    ([1.0, 0.0], 4)
    """

    def __init__(self, span: int) -> None:
        self.span = span
        self._reset()

    def _reset(self) -> None:
        self.steps: deque[int] = deque()
        self.rows: deque[Value] = deque()

    def see(self, step: int, weights: Value, floor: Value | float = 0.0) -> Value:
        """Take in weights ``(M,)`` and return their growth in decades ``(M,)``; NaN for a weight that is or was 0.

        Only growth above ``floor`` (a weight, ``(M,)`` or one for all) counts.

        Another number of weights, or a step that isn't later than the last, starts anew.
        """
        if self.steps and (step <= self.steps[-1] or weights.shape != self.rows[-1].shape):
            self._reset()
        with np.errstate(divide="ignore", invalid="ignore"):
            row, least = np.log10(weights), np.log10(floor)
        row[~np.isfinite(row)] = np.nan
        self.steps.append(step)
        self.rows.append(row)
        target = step - self.span
        while len(self.steps) > 1 and self.steps[1] <= target:
            self.steps.popleft()
            self.rows.popleft()
        start = self.rows[0]
        if self.steps[0] < target:
            part = (target - self.steps[0]) / (self.steps[1] - self.steps[0])
            start = start + part * (self.rows[1] - start)
        return row - np.maximum(start, least)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"steps": list(self.steps), "rows": [row.tolist() for row in self.rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.steps = deque(state["steps"])
        self.rows = deque(np.array(row, dtype=np.float64) for row in state["rows"])
