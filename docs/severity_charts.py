"""Recall against severity on the fault zoo: one small chart an operator, from harmless to lethal.

Marks differ in shape as well as in color, and every chart says its numbers in its description.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.zoo.grid import LAYERS
from benchmarks.zoo.intervals import wilson
from benchmarks.zoo.operators import OPERATORS
from docs.svg import COLORS, escape, rule, text

WIDTH, HEIGHT = 300, 206
LEFT, RIGHT, TOP, BOTTOM = 66, 6, 12, 138
ASIDE = 9  # pixels between the marks of one severity
LINE = 15
FOUND, ALARM = COLORS[:2]
# key, runs it is a share of, color, dash of its interval and curve, whether a curve joins the marks
MARKS = (
    ("on_time", "harmful", FOUND, "", True),
    ("hits", "harmful", FOUND, "4 3", True),
    ("benign_alarms", "benign", ALARM, "1 2.5", False),
)
LEGEND = {
    "on_time": "harmful runs with an expected alarm by its deadline",
    "hits": "the same, by its deadline or later",
    "benign_alarms": "harmless runs with any alarm",
}
ROWS = (("harmful", "harmful"), ("benign", "harmless"), ("grey", "unclear"))
GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,260px),1fr));gap:1.2rem 1rem"
FIGURE = "margin:0;width:auto;display:flex;flex-direction:column;justify-content:space-between"
CAPTION = "margin:0 0 .3rem;max-width:none;text-align:left;font-style:normal;font-size:.7rem"
INLINE = 'style="vertical-align:middle" aria-hidden="true"'
PLACES = {0: "first layer", 1: "second layer", -1: "last layer"}
Point = Mapping[str, Any]


def charts(curves: Mapping[str, Sequence[Point]]) -> str:
    """Return the legend, a chart for each operator with several severities, and a table of the others; Markdown."""
    several = {name: points for name, points in curves.items() if _is_curve(name, points)}
    figures = "".join(_figure(name, points) for name, points in several.items())
    parts = [_legend(), f'<div style="{GRID}">{figures}</div>'] if several else []
    rows = [_row(name, p) for name, points in curves.items() if name not in several for p in points]
    if rows:
        head = "| fault | severity | by its deadline | ever | alarms on harmless | unclear |\n" + "| --- " * 6 + "|"
        parts += [
            "Faults of one severity in this set, those of which every run is unclear, and those whose severity is the "
            "layer they are in:",
            "\n".join([head, *rows]),
        ]
    return "\n\n".join(parts)


def _is_curve(name: str, points: Sequence[Point]) -> bool:
    told = sum(p["harmful"] + p["benign"] > 0 for p in points)  # severities with anything to draw
    return len(points) > 1 and told > 0 and name not in LAYERS


def chart(name: str, points: Sequence[Point]) -> str:
    """Return the SVG of one operator."""
    pitch = (WIDTH - LEFT - RIGHT) / len(points)
    at = [round(LEFT + pitch * (i + 0.5), 1) for i in range(len(points))]
    parts = [*_axes(), *(_column(x, p) for x, p in zip(at, points, strict=True))]
    for i, (key, of, color, dash, joined) in enumerate(MARKS):
        spots = [(x + ASIDE * (i - 1), p[key], p[of]) for x, p in zip(at, points, strict=True)]
        if joined:
            parts += [
                rule(x, _y(h / n), x2, _y(h2 / n2), f'{_stroke(color, 1.2, dash)} stroke-opacity=".7"')
                for (x, h, n), (x2, h2, n2) in pairwise(spots)
                if n and n2
            ]
        parts += [_interval(x, hits, n, _stroke(color, 2, dash)) for x, hits, n in spots if n]
        parts += [_mark(key, x, _y(hits / n)) for x, hits, n in spots if n]
    said = re.sub(r"\W+", "-", name)
    names = f'<title id="{said}-title">{escape(name)}: recall against severity</title>'
    names += f'<desc id="{said}-desc">{escape(_said(points))}</desc>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{said}-title" aria-describedby="{said}-desc" fill="currentColor" font-size="11.5" '
        f'font-family="sans-serif" style="width:100%;max-width:400px;height:auto">{names}{"".join(parts)}</svg>'
    )


def _figure(name: str, points: Sequence[Point]) -> str:
    operator = OPERATORS.get(name.partition(",")[0])
    about = (inspect.getdoc(operator) or "").partition("\n")[0]
    about = re.sub("``(.+?)``", r"\1", escape(about))
    caption = f'<figcaption style="{CAPTION}"><code>{escape(name)}</code> {about}</figcaption>'
    return f'<figure style="{FIGURE}">{caption}{chart(name, points)}</figure>'


def _axes() -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        yield rule(LEFT, _y(share), WIDTH - RIGHT, _y(share), 'stroke="currentColor" stroke-opacity=".2"')
        yield text(LEFT - 8, _y(share) + 4, f"{100 * share:.0f} %", "end")
    for i, said in enumerate(("severity", *(label for _, label in ROWS))):
        yield text(LEFT - 8, BOTTOM + 17 + LINE * i, said, "end")


def _column(x: float, point: Point) -> str:
    """The severity and the numbers of runs below it."""
    said = [f"{point['severity']:g}", *(str(point[key] or "–") for key, _ in ROWS)]
    return "".join(text(x, BOTTOM + 17 + LINE * i, number, "middle") for i, number in enumerate(said))


def _y(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 1)


def _stroke(color: str, width: float, dash: str) -> str:
    return f'stroke="{color}" stroke-width="{width}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _interval(x: float, hits: int, n: int, look: str) -> str:
    low, high = wilson(hits, n)
    return rule(x, _y(low), x, _y(high), f'{look} stroke-opacity=".8"')


def _mark(key: str, x: float, y: float) -> str:
    """A disc, a ring, a diamond."""
    if key == "benign_alarms":
        return f'<path d="M{x:g} {y - 5.5:g}l5.5 5.5l-5.5 5.5l-5.5 -5.5z" fill="{ALARM}"/>'
    fill = FOUND if key == "on_time" else "var(--md-default-bg-color,none)"
    return f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="{fill}" stroke="{FOUND}" stroke-width="1.8"/>'


def _legend() -> str:
    """The marks with their words, as a line of text."""
    parts = []
    for key, _, color, dash, _ in MARKS:
        bar = rule(7, 0, 7, 16, f'{_stroke(color, 2, dash)} stroke-opacity=".8"')
        drawn = f'<svg width="14" height="16" viewBox="0 0 14 16" {INLINE}>{bar}{_mark(key, 7, 8)}</svg>'
        parts.append(f"{drawn} {LEGEND[key]}")
    return f"<p>{'<br>'.join(parts)}</p>"


def _said(points: Sequence[Point]) -> str:
    return " ".join(f"Severity {p['severity']:g}: {', '.join(_counts(p))}." for p in points)


def _counts(p: Point) -> Iterator[str]:
    if p["harmful"]:
        yield f"of {p['harmful']} harmful runs {p['on_time']} found by the deadline and {p['hits']} ever"
    if p["benign"]:
        yield f"alarms on {p['benign_alarms']} of {p['benign']} harmless runs"
    if p["grey"]:
        yield f"{p['grey']} unclear"


def _row(name: str, p: Point) -> str:
    what = PLACES.get(int(p["severity"])) if name in LAYERS else f"{p['severity']:g}"
    cells = [_of(p["on_time"], p["harmful"]), _of(p["hits"], p["harmful"]), _of(p["benign_alarms"], p["benign"])]
    return f"| `{name}` | {what} | {' | '.join(cells)} | {p['grey'] or ''} |"


def _of(hits: int, n: int) -> str:
    return f"{hits} of {n}" if n else ""
