"""Charts as SVG inside a page: text and axes take the page's own color, so that they read in light and dark.

The curves' colors (Okabe and Ito, told apart by the colour-blind) stand out on white and on slate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lightning_diag.report.charts import Chart, Line, cut_at, wants_log
from lightning_diag.report.series import Floats
from lightning_diag.report.words import number

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 40, 34
COLORS = ("#0d86c9", "#d55e00", "#00976c", "#c0669a")
GREY, LIMIT = "#8a8a8a", "#d55e00"
DIGITS = 1
# a rim of the page's color, so that a label on a curve can be read
RIM = "paint-order:stroke;stroke:var(--md-default-bg-color,transparent);stroke-width:4px"


class Scale:
    """Values to pixels, linear or logarithmic, over a range that isn't empty."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self.log, self.start, self.end = log, start, end
        self.low, self.high = (math.log10(low), math.log10(high)) if log else (low, high)
        if not self.high > self.low:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def __call__(self, value: float) -> float:
        """Return the pixel; a value beyond the range stays at its edge."""
        if self.log:
            value = math.log10(value) if value > 0 else self.low
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return round(self.start + share * (self.end - self.start), DIGITS)

    def ticks(self) -> list[float]:
        """Return about four round values inside.

        >>> Scale(0, 100, 0, 1).ticks(), Scale(1, 1000, 0, 1, log=True).ticks()
        ([0.0, 50.0, 100.0], [1.0, 10.0, 100.0, 1000.0])
        """
        if self.log and self.high - self.low >= 2:
            step: float = max(1, math.ceil((self.high - self.low) / 4))
        else:
            rough = (self.high - self.low) / 4
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [float(f"{k * step:.10g}") for k in range(first, last + 1)]
        return [10.0**v for v in values] if self.log else values


def lines(chart: Chart, marks: Sequence[tuple[int, str]]) -> str:
    """Return a chart of curves over steps with its limits, and a mark at every ``(step, severity)``."""
    steps = np.concatenate([x for x, _ in chart.tables])
    x = Scale(float(steps.min()), float(steps.max()), LEFT, WIDTH - RIGHT)
    y = _vertical(chart)
    parts = _axes(x, y, percent=chart.percent)
    for at, rows in chart.tables:
        parts += [_curve(at, line, x, y) for line in rows]
    for first, last in chart.bad:
        parts.append(_gap(x(first), x(last)))
    for value, label in chart.limits:
        if not y.log or value > 0:
            parts.append(_limit(y(value), f"{label} {_say(value, chart.percent)}"))
    for step, severity in marks:
        parts.append(_mark(x(step), severity))
    return _svg(parts + _legend([line for _, rows in chart.tables for line in rows]), HEIGHT, chart.title)


def bars(values: Mapping[str, float]) -> str:
    """Return one horizontal bar a value, for what is measured once."""
    top = max([abs(v) for v in values.values()]) or 1.0
    x = Scale(0.0, top, LEFT + 24, WIDTH - 90)
    parts = []
    for i, (name, value) in enumerate(values.items()):
        at, end = 14 + 30 * i, x(abs(value))
        color = COLORS[0] if name == "value" else GREY
        parts.append(text(LEFT + 16, at + 14, "measured" if name == "value" else name, "end"))
        parts.append(
            f'<rect x="{LEFT + 24}" y="{at}" width="{max(1.0, end - LEFT - 24):g}" height="18" fill="{color}"/>'
        )
        parts.append(text(end + 6, at + 14, number(value)))
    said = ", ".join(f"{name} {number(value)}" for name, value in values.items())
    return _svg(parts, 22 + 30 * len(values), said)


def _vertical(chart: Chart) -> Scale:
    drawn = [v for _, rows in chart.tables for line in rows for v in (line.values, line.low) if v is not None]
    values = np.concatenate([*drawn, np.array([value for value, _ in chart.limits])])
    values = values[np.isfinite(values)]
    log = wants_log(chart)
    if log:
        values = values[values > 0]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    cut = None if log else cut_at(chart)
    high = high if cut is None else min(high, cut)
    pad = 0.0 if log else 0.06 * (high - low)
    if chart.percent:
        low, high, pad = 0.0, max(high, 0.05), 0.0
    return Scale(low / 1.3 if log else low - pad, high * 1.3 if log else high + pad, HEIGHT - BOTTOM, TOP, log)


def _axes(x: Scale, y: Scale, percent: bool) -> list[str]:
    parts = []
    for value in y.ticks():
        parts.append(rule(LEFT, y(value), WIDTH - RIGHT, y(value), 'stroke="currentColor" stroke-opacity=".15"'))
        parts.append(text(LEFT - 6, y(value) + 4, _say(value, percent), "end"))
    parts += [text(x(value), HEIGHT - BOTTOM + 16, f"{value:,.10g}", "middle") for value in x.ticks()]
    parts.append(text(WIDTH - RIGHT, HEIGHT - 4, "step", "end"))
    return parts


def _curve(at: Floats, line: Line, x: Scale, y: Scale) -> str:
    color = COLORS[line.color % len(COLORS)] if line.color >= 0 else GREY
    if line.low is not None:
        known = np.isfinite(line.values) & np.isfinite(line.low)
        there = [(x(s), y(v)) for s, v in zip(at[known], line.values[known], strict=True)]
        back = [(x(s), y(v)) for s, v in zip(at[known], line.low[known], strict=True)]
        points = " ".join(f"{a:g},{b:g}" for a, b in [*there, *back[::-1]])
        return f'<polygon points="{points}" fill="{color}" fill-opacity=".3"/>'
    known = np.isfinite(line.values)
    if line.look == "dots":
        pairs = zip(at[known], line.values[known], strict=True)
        return "".join(f'<circle cx="{x(s):g}" cy="{y(v):g}" r="3" fill="{color}"/>' for s, v in pairs)
    path, pen = [], "M"
    for s, v in zip(at, line.values, strict=True):
        if not math.isfinite(v):
            pen = "M"
            continue
        path.append(f"{pen}{x(float(s)):g} {y(float(v)):g}")
        pen = "L"
    width = 1 if line.look == "faint" else 1.8
    return f'<path d="{"".join(path)}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def _limit(at: float, label: str) -> str:
    drawn = rule(LEFT, at, WIDTH - RIGHT, at, f'stroke="{LIMIT}" stroke-dasharray="6 4"')
    return drawn + text(WIDTH - RIGHT - 4, at - 4, label, "end")


def _gap(first: float, last: float) -> str:
    """Steps whose value wasn't finite."""
    size = f'width="{max(3.0, last - first):g}" height="{HEIGHT - BOTTOM - TOP}"'
    return f'<rect x="{first:g}" y="{TOP}" {size} fill="{LIMIT}" fill-opacity=".25"><title>not finite</title></rect>'


def _mark(at: float, severity: str) -> str:
    drawn = rule(at, TOP, at, HEIGHT - BOTTOM, 'stroke="currentColor" stroke-width="1.5" stroke-dasharray="2 3"')
    right = at > WIDTH - 120
    tip = f'<path d="M{at - 5:g} {TOP - 8}h10l-5 8z" fill="currentColor"/>'
    return drawn + tip + text(at - 8 if right else at + 8, TOP - 1, severity, "end" if right else "start")


def _legend(rows: Sequence[Line]) -> list[str]:
    parts, at = [], LEFT
    for label, color in dict.fromkeys((line.label, line.color) for line in rows):
        shade = COLORS[color % len(COLORS)] if color >= 0 else GREY
        parts.append(f'<rect x="{at}" y="6" width="12" height="12" fill="{shade}"/>' + text(at + 17, 17, label))
        at += 34 + 7 * len(label)
    return parts


def _say(value: float, percent: bool) -> str:
    return f"{100 * value:.3g} %" if percent else number(value)


def rule(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    """Return a line; ``look`` holds its attributes."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" {look}/>'


def text(x: float, y: float, said: str, anchor: str = "start") -> str:
    """Return a label with a rim."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" style="{RIM}">{escape(said)}</text>'


def escape(text: str) -> str:
    """Return text that is safe inside HTML, on one line.

    >>> escape('a < "b"')
    'a &lt; &quot;b&quot;'
    """
    swaps = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": " "}
    return "".join(swaps.get(c, c) for c in text)


def _svg(parts: Sequence[str], height: int, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'aria-label="{escape(label)}" fill="currentColor" font-size="12" font-family="sans-serif" '
        f'style="max-width:100%;height:auto">{"".join(parts)}</svg>'
    )
