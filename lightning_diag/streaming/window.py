"""The last few vectors of a stream, with the step each was measured at."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Window:
    """The last ``length`` vectors of equal shape and their steps; statistics run over the window, per element.

    A vector of another shape (the model changed) empties the window first.

    Args:
        length: window length, at least 1.

    >>> w = Window(2)
    >>> for step, x in enumerate(([1.0, 4.0], [3.0, 2.0], [5.0, 2.0])):
    ...     w.push(step, x)
    >>> w.median().tolist(), w.steps
    ([4.0, 2.0], [1, 2])
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.length = length
        self._reset()

    def _reset(self) -> None:
        self._steps: deque[int] = deque(maxlen=self.length)
        self._rows: deque[NDArray[np.float64]] = deque(maxlen=self.length)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def full(self) -> bool:
        """Whether ``length`` vectors were seen."""
        return len(self._rows) == self.length

    @property
    def steps(self) -> list[int]:
        """Steps of the vectors, oldest first."""
        return list(self._steps)

    def push(self, step: int, row: Any) -> None:
        """Take in one vector; the oldest leaves when the window is full."""
        vector = np.asarray(row, dtype=np.float64)
        if self._rows and self._rows[-1].shape != vector.shape:
            self._reset()
        self._steps.append(int(step))
        self._rows.append(vector.copy())

    def clear(self) -> None:
        """Forget everything."""
        self._reset()

    def array(self) -> NDArray[np.float64]:
        """Return shape ``(len(self), *row shape)``, oldest first."""
        return np.stack(self._rows) if self._rows else np.empty((0,))

    def median(self) -> NDArray[np.float64]:
        """Return the median per element; an element's NaNs are left out, all-NaN gives NaN."""
        rows = self.array()
        if not len(rows):
            return np.empty((0,))
        masked = np.ma.masked_invalid(rows)
        return np.asarray(np.ma.median(masked, axis=0).filled(np.nan), dtype=np.float64)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"steps": list(self._steps), "rows": [row.tolist() for row in self._rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._reset()
        for step, row in zip(state["steps"], state["rows"], strict=True):
            self.push(step, row)
