"""Seconds a batch and seconds of waiting, in blocks that one long pause can't fill."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Reading

Array = NDArray[np.float64]
BLOCK = 16  # batches a block has at least
BLOCKS = 8  # blocks looked at
ENOUGH = 4  # of them before anything is said
WARM_UP = 20  # batches at the start that don't count: caches, compilation, first allocations


class Laps:
    """Blocks of at least 16 batches: each with the share of its time that was spent waiting, and seconds a batch.

    A median over blocks is not moved by one pause, as a mean would be; within a block it is a mean, because batches of
    several workers come in bursts: most waits are 0 even where the loader is the limit.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._batches = 0.0
        self._block = [0.0, 0.0, 0.0]  # batches, seconds, seconds waited
        self._rows: deque[list[float]] = deque(maxlen=BLOCKS)

    def push(self, reading: Reading, wait_s: float) -> bool:
        """Add a reading's batches, whose mean wait is given; returns whether a block is complete."""
        batches, batch_s = reading.scalar("time/batches"), reading.scalar("time/batch_s")
        first_s = reading.scalar("time/first_wait_s") or 0.0
        if batches is None or batch_s is None or not np.isfinite([batches, batch_s, wait_s, first_s]).all():
            return False
        self._batches += batches
        if self._batches <= WARM_UP:
            return False
        block = self._block
        block[0] += batches
        block[1] += max(0.0, batches * batch_s - first_s)
        block[2] += batches * wait_s
        if block[0] < BLOCK:
            return False
        self._rows.append([block[2] / block[1] if block[1] > 0 else 0.0, block[1] / block[0], block[2] / block[0]])
        self._block = [0.0, 0.0, 0.0]
        return True

    def __len__(self) -> int:
        return len(self._rows)

    def medians(self) -> tuple[float, float, float]:
        """Return the medians of the share waited, of seconds a batch and of seconds waited a batch."""
        share, batch_s, wait_s = np.median(np.array(self._rows), axis=0)
        return float(min(1.0, share)), float(batch_s), float(wait_s)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"batches": self._batches, "block": list(self._block), "rows": [list(row) for row in self._rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._batches = float(state["batches"])
        self._block = list(state["block"])
        self._rows = deque((list(row) for row in state["rows"]), maxlen=BLOCKS)
