"""What several processes measured side by side. R processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Reading

Array = NDArray[np.float64]


def by_rank(reading: Reading, signal: str) -> Array | None:
    """Return a signal's rows ``(R, ...)``, NaN for processes that sent none; None where it was not measured.

    Raises:
        NotMeasurable: there is one process only.
    """
    rows = reading.vector(signal)
    if rows is None:
        return None
    if rows.ndim < 1 or rows.shape[0] < 2:
        raise NotMeasurable("one process has nobody to differ from")
    return rows


def name_of(reading: Reading, rank: int) -> str:
    """Return how findings call a process."""
    names = reading.names("rank")
    return names[rank] if rank < len(names) else f"rank {rank}"


def odd_ones(rows: Array) -> tuple[int, list[int]]:
    """Return a reference row and the rows that differ from it: the reference is what most agree on, the first in a tie.

    Rows with NaN don't count.

    >>> odd_ones(np.array([[1.0], [2.0], [1.0], [np.nan]]))
    (0, [1])
    """
    there = [int(r) for r in np.flatnonzero(~np.isnan(rows).any(axis=1))]
    votes = {r: sum(bool((rows[r] == rows[s]).all()) for s in there) for r in there}
    if not there:
        return 0, []
    reference = max(there, key=lambda r: (votes[r], -r))
    return reference, [r for r in there if not (rows[r] == rows[reference]).all()]


def others(values: Array) -> Array:
    """Return for each process the median of the other ones, ``(R,)``."""
    return np.array([np.median(np.delete(values, r)) for r in range(len(values))])
