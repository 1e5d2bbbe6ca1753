"""Line charts as plain data: what ``report.js`` draws and what stands below it in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightning_diag.report.grid import Columns
from lightning_diag.report.series import Floats, Series, minmax
from lightning_diag.report.words import number

Look = Literal["line", "faint", "dots", "steps", "band"]
PEAK = 10.0  # so does one whose highest peak would flatten all the rest
LOG_DECADES = 1.7  # a positive series that spans more (a factor of 50) is drawn on a log axis


@dataclass
class Line:
    """One line of a chart; a band has ``low`` and its upper edge in ``values``.

    Attributes:
        label: what it is.
        values: NaN where there is none. Shape ``(T,)``.
        look: how it is drawn.
        color: index into the palette; -1 is grey.
        low: lower edge of a band. Shape ``(T,)``.
    """

    label: str
    values: Floats
    look: Look = "line"
    color: int = 0
    low: Floats | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data, five significant digits, null for NaN."""
        data: dict[str, Any] = {"label": self.label, "look": self.look, "color": self.color, "y": plain(self.values)}
        if self.low is not None:
            data["low"] = plain(self.low)
        return data


@dataclass
class Chart:
    """Lines over steps, with marks.

    Attributes:
        title: heading.
        caption: the same in words, for those who don't see it.
        tables: ``(steps, lines on these steps)``.
        unit: unit of the vertical axis.
        log: whether the vertical axis is logarithmic; None decides by the data.
        limits: ``(value, label)`` drawn as dashed lines.
        marks: findings (see ``marks.py``).
        bad: ranges of steps with values that weren't finite.
        near: range of steps around the finding at which the chart can be looked at closely.
        close: whether it opens at ``near``.
        size: ``small``, ``low`` or ``main``.
        zero: whether a linear axis starts at zero.
        percent: whether the values are shares, shown in percent on a linear axis.
        synced: whether zoom and cursor are shared with the other charts of the page.
        id: name of its place on the page, given by the page.
    """

    title: str
    caption: str
    tables: list[tuple[Floats, list[Line]]]
    unit: str = ""
    log: bool | None = None
    limits: list[tuple[float, str]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    bad: list[list[int]] = field(default_factory=list)
    near: tuple[int, int] | None = None
    close: bool = False
    size: str = "main"
    zero: bool = False
    percent: bool = False
    synced: bool = False
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "id": self.id,
            "kind": "lines",
            "title": self.title,
            "unit": self.unit,
            "log": wants_log(self) if self.log is None else self.log,
            "tables": [
                {"x": plain(x, digits=9), "lines": [line.to_json() for line in lines]} for x, lines in self.tables
            ],
            "limits": [{"y": y, "label": label} for y, label in self.limits],
            "marks": self.marks,
            "bad": self.bad,
            "near": self.near,
            "close": self.close,
            "size": self.size,
            "zero": self.zero,
            "percent": self.percent,
            "synced": self.synced,
        }


def plain(values: Floats, digits: int = 5) -> list[float | int | None]:
    """Return JSON numbers with that many significant digits; null for what isn't finite.

    >>> plain(np.array([1.0, 2.3456789, np.nan]))
    [1, 2.3457, None]
    """
    out: list[float | int | None] = []
    for value in values.tolist():
        if value - value != 0:  # NaN or infinite
            out.append(None)
        else:
            short = float(f"{value:.{digits}g}")
            out.append(int(short) if short.is_integer() and abs(short) < 1e15 else short)
    return out


def wants_log(chart: Chart) -> bool:
    """Whether the chart's values are positive and span too much for a linear axis."""
    parts = [v for _, lines in chart.tables for line in lines for v in (line.values, line.low) if v is not None]
    values = np.concatenate(parts) if parts else np.empty(0)
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if chart.percent or len(positive) < 2 or (values < 0).any():
        return False
    low, high = np.quantile(positive, [0.01, 0.99])
    return bool(np.log10(high / low) > LOG_DECADES or values.max() > PEAK * high)


def scalar_table(
    series: Series, label: str, buckets: int, look: Look = "line", color: int = 0,
    near: tuple[int, int] | None = None,
) -> tuple[Floats, list[Line]]:  # fmt: skip
    """One scalar signal as a table; at full resolution inside ``near``."""
    steps, values = series.steps, series.values
    thin_steps, thin_values = minmax(steps, values, buckets)
    if near is not None and len(thin_steps) < len(steps):
        inside = (steps >= near[0]) & (steps <= near[1])
        outside = (thin_steps < near[0]) | (thin_steps > near[1])
        joined = np.r_[thin_steps[outside], steps[inside]]
        order = np.argsort(joined, kind="stable")
        thin_steps = joined[order]
        thin_values = np.r_[thin_values[outside], values[inside]][order]
    return thin_steps, [Line(label, thin_values, look, color)]


def spread(columns: Columns) -> tuple[Floats, NDArray[np.intp]]:
    """Steps at which the rows' extremes are drawn: a joined column gives two. Returns steps and column of each."""
    joined = columns.last > columns.first
    if not joined.any():
        return columns.first, np.arange(len(columns.first))
    index = np.repeat(np.arange(len(joined)), np.where(joined, 2, 1))
    steps = columns.first[index].copy()
    second = np.r_[False, index[1:] == index[:-1]]
    steps[second] = columns.last[index[second]]
    return steps, index


def row_line(columns: Columns, row: int, index: NDArray[np.intp]) -> Floats:
    """One row along :func:`spread`'s steps: its lowest, then its highest value in each joined column."""
    second = np.r_[False, index[1:] == index[:-1]]
    values: Floats = np.where(second, columns.high[index, row], columns.low[index, row])
    return values


def value_at(steps: Floats, values: Floats, step: int) -> float | None:
    """Last value at or before a step (the first one where there is none before)."""
    if not len(steps):
        return None
    return float(values[max(0, int(np.searchsorted(steps, step, side="right")) - 1)])


def summary(series: Series, say: Callable[[float], str] = number) -> str:
    """First, lowest, highest and last value in words.

    >>> s = Series()
    >>> for step, value in ((1, 2.0), (2, 5.0), (3, 1.0)):
    ...     s.add(step, value)
    >>> summary(s)
    'From 2 at step 1 to 1 at step 3; lowest 1 (step 3), highest 5 (step 2).'
    """
    steps, values = series.steps, series.values
    if not len(steps):
        return "No finite value." if series.bad else "No value."
    low, high = int(values.argmin()), int(values.argmax())
    if values[low] == values[high]:
        text = f"{say(values[low])} from step {int(steps[0]):,} to step {int(steps[-1]):,}."
        return text + _not_finite(series)
    text = (
        f"From {say(values[0])} at step {int(steps[0]):,} to {say(values[-1])} at step {int(steps[-1]):,}; "
        f"lowest {say(values[low])} (step {int(steps[low]):,}), highest {say(values[high])} "
        f"(step {int(steps[high]):,})."
    )
    return text + _not_finite(series)


def _not_finite(series: Series) -> str:
    if not series.bad:
        return ""
    more = "" if len(series.bad) == 1 and series.bad[0][0] == series.bad[0][1] else " and later"
    return f" Not finite at step {series.bad[0][0]:,}{more}."
