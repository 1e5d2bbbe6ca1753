"""Everything that stands on the page, as plain values for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lightning_diag import __version__
from lightning_diag.diagnosis import Coverage, Diagnosis
from lightning_diag.record import Record
from lightning_diag.report.accepted import ANCHOR, Accepted, nothing, rows, split
from lightning_diag.report.cards import Cards, cards
from lightning_diag.report.figures import figure
from lightning_diag.report.gather import Gathered, gather
from lightning_diag.report.heat import Heat
from lightning_diag.report.runfacts import limits, run_facts, run_head, status_of
from lightning_diag.report.sections import sections
from lightning_diag.report.verdict import MAX_FINDINGS, UNENDED, diagnosis_of, verdict
from lightning_diag.report.words import TEXT_LENGTH, clean

Mark = tuple[str, str]  # of a rule: severity or ``accepted``, and the anchor of its place on the page
MAX_FIGURES = 60  # findings that get a plot: one a rule, so more than there are rules


def content(record: Record, now: datetime, accepted: Accepted = nothing) -> dict[str, Any]:
    """Return the template's variables; ``data`` is what the scripts draw."""
    got = gather(record.readings(), record.facts)
    columns = {signal: grid.columns() for signal, grid in got.grids.items()}
    counting, left_out = split(record.findings[:MAX_FINDINGS], accepted)
    diagnosis = diagnosis_of(record, counting)
    shown = cards(diagnosis, got)
    charts: list[Any] = []
    for card in shown.findings()[:MAX_FIGURES]:
        card.chart = figure(card.finding, got, columns, card.mark())
        charts += [card.chart] if card.chart is not None else []
    budget = record.info["meta"].get("budget")
    known = isinstance(budget, (int, float)) and 0 < budget < 1
    parts = sections(got, columns, shown.findings(), float(budget) if known else None)
    charts += [chart for part in parts for chart in (*part.charts, *part.more)]
    for i, chart in enumerate(charts):
        chart.id = f"chart-{i}"
    marks = {card.rule: (card.severity, card.id) for card in shown.findings()}
    marks |= {clean(finding.rule): ("accepted", ANCHOR) for finding, _ in left_out}
    status = status_of(record, now)
    return {
        "version": __version__,
        "run": run_head(record, got, now, status),
        "verdict": verdict(diagnosis, shown, got, status, len(left_out)),
        "cards": shown,
        "bars": _bars(shown, got),
        "span": _span(got),
        "sections": parts,
        "accepted": rows(left_out, got),
        "coverage": _coverage(diagnosis.coverage, marks, got, status),
        "checklist": _checklist(diagnosis_of(record), marks),
        "so_far": status == "running",
        "limits": limits(record),
        "facts": run_facts(record, got),
        "data": _data(got, charts),
    }


def _span(got: Gathered) -> tuple[int, int]:
    return got.first_step or 0, max(got.last_step, (got.first_step or 0) + 1)


def _bars(shown: Cards, got: Gathered) -> list[dict[str, Any]]:
    """When each finding of warning or worse held, on a scale of 1000."""
    first, last = _span(got)
    bars = []
    for card in (c for c in shown.findings() if c.severity != "info"):
        f = card.finding
        end = f.last_step if f.status == "resolved" else max(last, f.last_step)
        x = min(994.0, max(0.0, 1000 * (f.first_step - first) / (last - first)))
        width = min(1000 - x, max(6.0, 1000 * (end - f.first_step) / (last - first)))
        words = f"from step {f.first_step:,}" + (f" to {end:,}" if f.status == "resolved" else " on")
        bars.append({"id": card.id, "number": card.number, "rule": card.rule, "severity": card.severity,
                     "x": round(x, 1), "width": round(width, 1), "words": words})  # fmt: skip
    return bars


def _coverage(coverage: Coverage, marks: Mapping[str, Mark], got: Gathered, status: str) -> dict[str, Any]:
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for rule in sorted(coverage.ran):
        group, _, name = clean(rule).partition("/")
        groups.setdefault(group, []).append((name, *marks.get(clean(rule), ("ok", ""))))
    if coverage.ran or coverage.skipped:
        words = "A skipped check is not a passed check."
        words += " The run goes on: what could not be judged yet may still be." if status == "running" else ""
        words += " The run was killed: what stands here is how far it came." if status == "killed" else ""
    elif status in UNENDED:
        words = "No check ran before this page was written. That says nothing about the run."
    else:
        words = "Nothing was checked: no check had the data it needs. That says nothing about the run."
    return {
        "words": words,
        "count": len(coverage.ran),
        "ran": list(groups.items()),
        "skipped": _pairs(coverage.skipped),
        "unmeasured": _by_reason(got.facts.unmeasured),
    }


def _checklist(diagnosis: Diagnosis, marks: Mapping[str, Mark]) -> list[dict[str, Any]]:
    """The due-diligence list, of what is accepted, too; empty where nothing was checked."""
    if not diagnosis.coverage.ran:
        return []
    return [
        {
            "item": item.item,
            "state": item.state,
            "kind": {"ok": "ok", "note": "info", "failed": "warning", "not-measurable": "none"}[item.state],
            "why": clean(item.why, TEXT_LENGTH),
            "rules": [(clean(rule), marks.get(clean(rule), ("", ""))[1]) for rule in item.rules],
        }
        for item in diagnosis.checklist
    ]


def _pairs(data: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(clean(key), clean(value, TEXT_LENGTH)) for key, value in sorted(data.items())][:500]


def _by_reason(data: Mapping[str, str]) -> list[tuple[list[str], str]]:
    """Signals that share a reason stand together."""
    found: dict[str, list[str]] = {}
    for signal, reason in _pairs(data):
        found.setdefault(reason, []).append(signal)
    return [(signals, reason) for reason, signals in found.items()]


def _data(got: Gathered, charts: Sequence[Any]) -> dict[str, Any]:
    names: dict[str, list[str]] = {}
    for chart in charts:
        if isinstance(chart, Heat) and len(chart.names) > len(names.get(chart.axis, ())):
            names[chart.axis] = list(chart.names)
    return {
        "span": _span(got),
        "epochs": got.epochs[:: max(1, len(got.epochs) // 2000)],
        "names": names,
        "charts": [chart.to_json() for chart in charts],
    }
