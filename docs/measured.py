"""What the fault zoo measured of each rule, for its page: ``benchmarks/results/zoo_scores.json``, where it is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.zoo.intervals import wilson
from docs.rule_rates import rates
from docs.severity_charts import charts

SCORES = Path(__file__).parents[1] / "benchmarks" / "results" / "zoo_scores.json"
SET = {
    "report": "the runs kept back for the report, at seeds on which no limit was chosen",
    "seen": "the runs that were the report once, on which limits were looked at since: an upper bound",
    "previous": "the runs that were the report once, on which limits were looked at since: an upper bound",
    "last": "the runs that were the report once, on which limits were looked at since: an upper bound",
    "dev": "the runs on which limits were looked at: an upper bound",
}
CURVES = """### Recall against severity

Each fault from harmless (left) to lethal (right), in about geometric steps; {date}, {said}.
Height is the share of runs, bars are Wilson's 95 % intervals; below a severity stands how many runs it harmed, left
unharmed, and of how many neither is sure. Few runs stand behind a mark: a chart says from which severity on a fault is
seen, not how often.

{charts}

### Recall against false alarms, rule by rule

Several rules are expected of most faults and one of them is enough, so a single rule is seldom said on all of them. A
rule counts once a run. *At most* is the upper end of Poisson's 95 % interval: of a rule without an alarm it says only
how many steps were judged.

{rates}
"""


def load() -> dict[str, Any] | None:
    """Return the scores, or None where there are none yet."""
    return json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.exists() else None


def section(rule: str, scores: Mapping[str, Any] | None) -> str:
    """Return the Markdown below the heading of a rule's measured accuracy.

    >>> scores = {"set": "report", "date": "2026-11-27", "runs": {"healthy": 100, "benign": 50, "harmful": 80},
    ...           "rules": {"loss/spike": {"healthy": [1, 100], "benign": [0, 50], "recall": [8, 10], "delay": 0.25}}}
    >>> print(section("loss/spike", scores).splitlines()[2])
    | alarms on healthy runs | 1 of 100 | 0 to 5 % |
    """
    if scores is None:
        return "Not measured on the fault zoo yet; what was measured otherwise stands under *False alarms*."
    made: Mapping[str, Any] = scores["rules"].get(rule, {})
    hits, harmed = made.get("recall", (0, 0))
    rows = [
        _row("alarms on healthy runs", made.get("healthy")),
        _row("alarms on harmless oddities", made.get("benign")),
    ]
    if harmed:
        rows.append(_row("found, of harmful runs in which it is expected", (hits, harmed)))
        if made.get("delay") is not None:
            rows.append(f"| median time to the alarm | {100 * made['delay']:.0f} % of the run | |")
    rows = [row for row in rows if row]
    parts = [] if harmed else ["Not scored: no run of the zoo can show it."]
    if rows:
        table = "\n".join(["| measure | result | 95 % |", "| --- | --- | --- |", *rows])
        parts.append(f"{table}\n\n{_source(scores)}" if harmed else f"False alarms:\n\n{table}\n\n{_source(scores)}")
    return "\n\n".join(parts)


def curves(scores: Mapping[str, Any] | None) -> str:
    """Return the sections on recall against severity and against false alarms; empty where the scores lack them."""
    if scores is None or not {"severity", "together"} <= set(scores):
        return ""
    said = f"on {SET.get(scores['set'], 'the set ' + scores['set'])}"
    drawn, table = charts(scores["severity"]), rates(scores)
    return CURVES.format(date=scores["date"], said=said, charts=drawn, rates=table).rstrip()


def _row(name: str, counted: Any) -> str:
    if not counted or not counted[1]:
        return ""
    hits, n = counted
    low, high = wilson(hits, n)
    return f"| {name} | {hits} of {n} | {100 * low:.0f} to {100 * high:.0f} % |"


def _source(scores: Mapping[str, Any]) -> str:
    said = SET.get(scores["set"], f"the set `{scores['set']}`")
    zoo = "[fault zoo](../../accuracy.md)"
    return f"An alarm is a warning or worse. Small real trainings of the {zoo}, {scores['date']}, on {said}."
