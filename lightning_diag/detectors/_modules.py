"""What the rules over modules share: their arrays, their names, the order in which they were called."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Reading, Value

NAMED = 8  # places listed


def arrays(reading: Reading, *signals: str) -> list[Value]:
    """Return these per-module arrays ``(M,)``.

    Raises:
        NotMeasurable: one is absent, nowhere measured, or of another length than the first.
    """
    found: list[Value] = []
    for signal in signals:
        value = reading.vector(signal)
        if value is None or not value.size or np.isnan(value).all():
            raise NotMeasurable(reading.facts.unmeasured.get(signal, f"{signal} is nowhere measured yet"))
        if value.shape != (found[0] if found else value).shape or value.ndim != 1:
            raise NotMeasurable(f"{signal} has another length than the number of modules")
        found.append(value)
    return found


def called(reading: Reading, count: int) -> Value:
    """Return the rank of each module's first call ``(M,)``; where it isn't known the registration order."""
    order = reading.vector("activation/call_order")
    if order is None or order.shape != (count,):
        return np.arange(count, dtype=np.float64)
    return np.where(np.isnan(order), count + np.arange(count), order)


def first_called(reading: Reading, mask: NDArray[np.bool_]) -> list[int]:
    """Return the indices within ``mask`` ``(M,)`` in the order of their calls."""
    order = called(reading, len(mask))
    return sorted((int(i) for i in np.flatnonzero(mask)), key=lambda i: (float(order[i]), i))


def named(reading: Reading, indices: Iterable[int]) -> tuple[str, ...]:
    """Return the names of the first eight of these modules, or their numbers where the run has no names."""
    names = reading.names("module")
    return tuple(names[i] if i < len(names) else f"module {i}" for i in list(indices)[:NAMED])


def and_more(count: int) -> str:
    """Say how many other modules are concerned.

    >>> and_more(1), and_more(2), and_more(4)
    ('', ', as in 1 more module', ', as in 3 more modules')
    """
    return "" if count < 2 else f", as in {count - 1} more module{'s' if count > 2 else ''}"
