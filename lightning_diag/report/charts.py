"""Line charts as plain data: what ``report.js`` draws and what stands below it in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lightning_diag.report.series import Floats

Look = Literal["line", "faint", "dots", "steps", "band"]
PEAK = 4.0  # a linear axis is cut when the highest value is so many times the usual spread above it
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
            "cut": cut_at(self),
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
    values = _values(chart)
    positive = values[values > 0]
    if chart.percent or chart.zero or len(positive) < 2 or (values < 0).any():
        return False
    low, high = np.quantile(positive, [0.01, 0.99])
    return bool(np.log10(high / low) > LOG_DECADES)


def cut_at(chart: Chart) -> float | None:
    """Where a linear axis is cut because a few peaks would flatten all the rest; None = nowhere.

    >>> flat = np.r_[np.full(98, 2.0), 2.5, 77.0] + 0.01 * np.arange(100)
    >>> cut = cut_at(Chart("", "", [(np.arange(100.0), [Line("", flat)])]))
    >>> cut is not None and 2.9 < cut < 4.0
    True
    """
    values = _values(chart)
    if chart.percent or chart.zero or not len(values):
        return None
    low, high = np.quantile(values, [0.02, 0.98])
    cut = high + 0.5 * (high - low)
    if values.max() <= high + PEAK * (high - low) or not high > low:
        return None
    return float(f"{max([cut, *(y * 1.05 for y, _ in chart.limits if y < high + (high - low))]):.5g}")


def _values(chart: Chart) -> Floats:
    """All finite values of a chart."""
    parts = [v for _, lines in chart.tables for line in lines for v in (line.values, line.low) if v is not None]
    values: Floats = np.concatenate(parts) if parts else np.empty(0)
    return values[np.isfinite(values)]
