"""What every kind of log is read into: rows of numbers by column, in the order they were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """Numbers that were logged together.

    Attributes:
        step: optimizer steps done so far, that of the first being 1.
        epoch: from 0; -1 where the log doesn't say.
        values: column -> number.
    """

    step: int
    epoch: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """A log as it was written.

    Attributes:
        kind: what wrote it, in words.
        rows: in order.
        name: the run's name, where the log holds one.
        ended: whether the run is over; None where the log can't say.
        config: hyper-parameters that were logged.
        damaged: lines or records that could not be read.
    """

    kind: str
    rows: tuple[Row, ...]
    name: str = ""
    ended: bool | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    damaged: int = 0


def number(value: object) -> float | None:
    """Return a logged value as a float; None for text, nested data and booleans.

    >>> number("0.5"), number("NaN"), number(2), number(True), number("abc"), number(None)
    (0.5, nan, 2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def whole(value: float | None, default: int) -> int:
    """Return a step or an epoch as an integer, ``default`` where it is none.

    >>> whole(3.0, -1), whole(None, -1), whole(float("nan"), -1), whole(1e300, -1)
    (3, -1, -1, -1)
    """
    return int(value) if value is not None and abs(value) < 2**53 else default
