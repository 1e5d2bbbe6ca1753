"""Two versions of the rules over the same records: what was better or worse before, run by run."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.zoo.intervals import share
from benchmarks.zoo.outcome import Outcome
from benchmarks.zoo.tables import percent, table

Row = Mapping[str, Any]
MEASURES: tuple[tuple[str, tuple[str, ...], Callable[[Row], bool]], ...] = (
    ("healthy runs with an alarm", ("healthy",), lambda r: bool(r["alarms"])),
    ("benign runs with an alarm", ("benign",), lambda r: bool(r["alarms"])),
    ("harmful runs with any alarm", ("harmful",), lambda r: bool(r["alarms"])),
    ("harmful: expected alarm on time", ("harmful",), lambda r: r["on_time"]),
    ("harmful: expected alarm, ever", ("harmful",), lambda r: r["delay"] is not None),
    ("harmful: expected rule at least as a note", ("harmful",), lambda r: r["hinted"]),
    ("harmful: first cause right", ("harmful",), lambda r: r["cause"]),
)


def rows(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What counts of each run, as plain data."""
    return [
        {"name": o.config.name, "seed": o.config.seed, "label": o.harm.label, "on_time": o.on_time, "delay": o.delay,
         "hinted": o.hinted, "cause": o.cause, "alarms": [a.rule for a in o.verdict.alarms]}
        for o in found
    ]  # fmt: skip


def save(found: Sequence[Outcome], path: Path) -> None:
    """Keep it for :func:`versus`."""
    path.write_text(json.dumps(rows(found)) + "\n")


def versus(found: Sequence[Outcome], before: Path, held: Collection[int]) -> str:
    """Tables: runs of the seeds on which limits were chosen, and of the ``held`` ones; and the runs that changed."""
    old = {row["name"]: row for row in json.loads(before.read_text())}
    pairs = [(old[row["name"]], row) for row in rows(found) if row["name"] in old]
    parts = []
    for title, keep in (("Seeds that limits were chosen on", False), ("Held-out seeds", True)):
        chosen = [(a, b) for a, b in pairs if (b["seed"] in held) == keep]
        parts.append(f"### {title}\n\n" + _table(chosen))
    changed = [_change(a, b) for a, b in pairs]
    return "\n\n".join((*parts, "### Runs that changed\n\n" + "\n".join(line for line in changed if line)))


def _table(pairs: Sequence[tuple[Row, Row]]) -> str:
    lines = []
    for name, labels, test in MEASURES:
        both = [(test(a), test(b)) for a, b in pairs if b["label"] in labels]
        cells = [share(sum(side), len(both)) for side in zip(*both, strict=True)] if both else ["-", "-"]
        lines.append((name, *cells, sum(b and not a for a, b in both), sum(a and not b for a, b in both)))
    delays = [[row["delay"] for row in side if row["label"] == "harmful"] for side in zip(*pairs, strict=True)]
    told = [[d for d in side if d is not None] for side in delays]
    cells = [percent(median(side)) + " of the run" if side else "-" for side in told]
    lines.append(("median delay of an expected alarm", *(cells or ["-", "-"]), "", ""))
    return table(("measure", "before", "after", "now and not before", "before and not now"), lines)


def _change(before: Row, after: Row) -> str:
    words = []
    if before["on_time"] != after["on_time"] and after["label"] == "harmful":
        words.append("on time now" if after["on_time"] else "no longer on time")
    if before["cause"] != after["cause"] and after["label"] == "harmful":
        words.append("cause right now" if after["cause"] else "cause no longer right")
    if bool(before["alarms"]) != bool(after["alarms"]):
        words.append("alarm now: " + ", ".join(after["alarms"]) if after["alarms"] else "no alarm any more")
    return f"- {after['name']} ({after['label']}): {'; '.join(words)}" if words else ""
