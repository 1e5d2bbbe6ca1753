"""Heat maps as plain data: names x time, one byte a cell."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.report.charts import LOG_DECADES, plain
from lightning_diag.report.grid import Columns, narrow
from lightning_diag.report.series import Floats
from lightning_diag.report.words import number, percent

UNMEASURED, NOT_FINITE, ZERO, FIRST_LEVEL = 0, 1, 2, 3  # codes; 3 to 255 are 253 levels of the scale
LEVELS = 255 - FIRST_LEVEL
MIN_COLUMNS = 48


@dataclass
class Heat:
    """Names x time.

    Attributes:
        title: heading.
        caption: the same in words.
        axis: what the rows are; the names stand once on the page, under this word.
        names: every name along the axis.
        index: which of them each row is. Shape ``(R,)``.
        unit: unit of the values.
        first: first step of each column. Shape ``(C,)``.
        last: last step of each column. Shape ``(C,)``.
        codes: Shape ``(R, C)``.
        low: value of the first level.
        high: value of the last level.
        log: whether levels are equal ratios rather than equal differences.
        percent: whether the values are shares, shown in percent.
        marks: findings with the rows they name.
        id: name of its place on the page, given by the page.
    """

    title: str
    caption: str
    axis: str
    names: Sequence[str]
    index: NDArray[np.intp]
    unit: str
    first: Floats
    last: Floats
    codes: NDArray[np.uint8]
    low: float
    high: float
    log: bool
    percent: bool = False
    marks: list[dict[str, Any]] = field(default_factory=list)
    id: str = ""

    @property
    def size(self) -> str:
        """How much room it takes."""
        return "map"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "id": self.id,
            "kind": "heat",
            "title": self.title,
            "axis": self.axis,
            "unit": self.unit,
            "index": self.index.tolist(),
            "first": plain(self.first, digits=9),
            "last": plain(self.last, digits=9),
            "codes": base64.b64encode(self.codes.tobytes()).decode("ascii"),
            "low": self.low,
            "high": self.high,
            "log": self.log,
            "percent": self.percent,
            "marks": self.marks,
        }


def heat(
    title: str, axis: str, names: Sequence[str], unit: str, columns: Columns, cells: int, share: bool = False
) -> Heat:
    """Turn a grid into a heat map of at most about ``cells`` cells.

    A cell shows the value of its range of steps that is furthest from the row's median, so that neither a spike nor a
    collapse is lost; a range with a value that isn't finite shows that. Rows without any value are left out.
    """
    index = np.flatnonzero((np.isfinite(columns.high) | columns.bad).any(axis=0))
    wide = narrow(columns.only(index), max(MIN_COLUMNS, cells // max(1, len(index))))
    values = np.concatenate([wide.low.ravel(), wide.high.ravel()])
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    log = not share and bool(len(positive)) and not (values < 0).any() and _decades(positive) > LOG_DECADES
    shown = _furthest(wide, log)
    scaled = positive if log else values
    low, high = (float(scaled.min()), float(scaled.max())) if len(scaled) else (0.0, 1.0)
    if share:
        low, high = min(0.0, low), max(1.0, high)
    codes = _codes(shown, wide, low, high, log).T
    caption = _caption([names[int(i)] for i in index], wide, values, percent if share else number)
    return Heat(
        title,
        caption,
        axis,
        names,
        index,
        unit,
        wide.first,
        wide.last,
        np.ascontiguousarray(codes),
        low,
        high,
        log,
        share,
    )


def _decades(positive: Floats) -> float:
    low, high = np.quantile(positive, [0.01, 0.99])
    return float(np.log10(high) - np.log10(low))


def _furthest(columns: Columns, log: bool) -> Floats:
    """Of the lowest and the highest value of each cell the one further from the row's median. Shape ``(C, R)``."""
    low, high = columns.low, columns.high
    if log:
        low, high = (np.log10(np.where(v > 0, v, 1e-300)) for v in (low, high))
    middle = (low + high) / 2
    known = np.isfinite(middle).any(axis=0)
    median = np.zeros(middle.shape[1])
    median[known] = np.nanmedian(middle[:, known], axis=0)
    return np.where(np.abs(high - median) >= np.abs(low - median), columns.high, columns.low)


def _codes(shown: Floats, columns: Columns, low: float, high: float, log: bool) -> NDArray[np.uint8]:
    codes = np.full(shown.shape, UNMEASURED, dtype=np.uint8)
    finite = np.isfinite(shown)
    usable = finite & (shown > 0) if log else finite
    values, edges = (np.log10(shown[usable]), np.log10([low, high])) if log else (shown[usable], np.array([low, high]))
    span = edges[1] - edges[0]
    level = (values - edges[0]) / span if span > 0 else np.full(values.shape, 0.5)
    codes[usable] = FIRST_LEVEL + np.rint(np.clip(level, 0, 1) * LEVELS).astype(np.uint8)
    codes[finite & ~usable] = ZERO
    codes[columns.bad] = NOT_FINITE
    return codes


def _caption(names: Sequence[str], columns: Columns, values: Floats, say: Callable[[float], str]) -> str:
    """Where the highest, the lowest and the first non-finite value stand."""
    if not len(values):
        return "No finite value." if columns.bad.any() else "No value."

    def place(array: Floats, at: int) -> str:
        column, row = np.unravel_index(at, array.shape)
        return f"{say(float(array[column, row]))} ({names[int(row)]}, step {int(columns.first[column]):,})"

    text = f"Highest {place(columns.high, int(np.nanargmax(columns.high)))}, "
    text += f"lowest {place(columns.low, int(np.nanargmin(columns.low)))}."
    if columns.bad.any():
        column, row = np.unravel_index(int(columns.bad.argmax()), columns.bad.shape)
        text += f" Not finite first at step {int(columns.first[column]):,}: {names[int(row)]}."
    return text
