"""Recall against alarms per 10,000 healthy steps on the fault zoo: a row a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.zoo.intervals import wilson
from docs.severity_charts import INLINE
from docs.svg import COLORS, rule

BAR, TALL = 90, 14
RATE = "alarms per 10,000 healthy steps"
Row = Mapping[str, Any]


def rates(scores: Mapping[str, Any]) -> str:
    """Return the table, the best found first; a rule that no run can show is only counted below it. Markdown."""
    rules: Mapping[str, Row] = scores["rules"]
    scored = {name: row for name, row in rules.items() if row["recall"][1]}
    order = sorted(scored, key=lambda name: (-scored[name]["recall"][0] / scored[name]["recall"][1], name))
    linked = {f"[`{name}`](rules/{name}.md)": scored[name] for name in order}
    named = {"all rules": scores["together"], **linked}
    top = max((row["per_10k_steps"]["upper"] for row in named.values() if row["per_10k_steps"]), default=1.0)
    head = f"| rule | found where expected | {RATE} | healthy steps judged |\n" + "| --- " * 4 + "|"
    table = "\n".join([head, *(_row(name, row, top) for name, row in named.items())])
    return f"{table}\n\n{_others([row for name, row in rules.items() if name not in scored])}".rstrip()


def _row(name: str, row: Row, top: float) -> str:
    hits, n = row["recall"]
    low, high = wilson(hits, n)
    found = f"{_bar(low, hits / max(1, n), high)} {hits} of {n} ({100 * low:.0f} to {100 * high:.0f} %)"
    rate = row["per_10k_steps"]
    if not rate:
        return _cells(name, found, "not judged", "0")
    said = f"{rate['rate']:.2g}, at most {rate['upper']:.2g}"
    return _cells(name, found, f"{_bar(0.0, rate['rate'] / top, rate['upper'] / top, 1)} {said}", f"{rate['steps']:,}")


def _cells(*cells: str) -> str:
    """A row whose cells stay on one line each."""
    return " | ".join(["", *(f'<span style="white-space:nowrap">{cell}</span>' for cell in cells), ""]).strip()


def _bar(low: float, value: float, high: float, color: int = 0) -> str:
    """A value with its interval on a line from 0 to 1; its numbers stand beside it."""
    x = [round(5 + share * (BAR - 10), 1) for share in (low, value, high)]
    middle, shade = TALL / 2, COLORS[color]
    parts = [
        rule(5, middle, BAR - 5, middle, 'stroke="currentColor" stroke-opacity=".2"'),
        rule(x[0], middle, x[2], middle, f'stroke="{shade}" stroke-width="3" stroke-opacity=".8"'),
        f'<circle cx="{x[1]:g}" cy="{middle:g}" r="4" fill="{shade}"/>',
    ]
    return f'<svg width="{BAR}" height="{TALL}" viewBox="0 0 {BAR} {TALL}" {INLINE}>{"".join(parts)}</svg>'


def _others(rows: list[Row]) -> str:
    judged = [row["per_10k_steps"] for row in rows if row["per_10k_steps"]]
    if not judged:
        return ""
    alarms, upper = sum(rate["alarms"] for rate in judged), max(rate["upper"] for rate in judged)
    return (
        f"Rules that no harmful run of this set is expected to show: {len(judged)} were judged on healthy runs, with "
        f"{alarms} alarms in all; each at most {upper:.2g} per 10,000 steps."
    )
