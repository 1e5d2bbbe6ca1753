"""One frame of ``lightning-diag watch``: what a person wants to know of a run at a glance."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lightning_diag.cli.following import Curve, Following
from lightning_diag.cli.sparkline import ASCII, BLOCKS, sparkline
from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.record import Record
from lightning_diag.sinks._news import clean, places
from lightning_diag.sinks.console import REPORT, STYLE

NAMES = {"loss/train": "loss", "loss/val": "validation", "lr": "learning rate", "grad/norm": "gradient norm"}
SHOWN_FINDINGS, SHOWN_EVENTS = 6, 4
SILENT_S = 120.0  # a record that doesn't grow for so long is pointed out


def frame(record: Record, following: Following, width: int, *, unicode: bool = True, now: float | None = None) -> Group:
    """Return the frame.

    Args:
        record: ``run.json`` and the findings as they are now.
        following: the curves.
        width: columns of the terminal.
        unicode: whether it can show block signs.
        now: seconds since the epoch; the present when None.
    """
    diagnosis = diagnose(record.findings, Coverage.from_dict(record.coverage))
    parts: list[RenderableType] = [_head(record, following, time.time() if now is None else now)]
    parts.append(_verdict(record, diagnosis))
    parts.append(_curves(following, max(10, width - 46), BLOCKS if unicode else ASCII))
    parts.append(_cost(following))
    opened = [f for f in record.findings if f.status != "resolved"]
    if opened:
        parts.append(_findings(opened))
    if diagnosis.causes:
        parts.append(Text.assemble(("next: ", "bold"), clean(diagnosis.causes[0].experiment)))
    if record.events:
        parts += [Text("latest", "dim"), *(_event(finding) for finding in record.events[-SHOWN_EVENTS:])]
    report = record.run_dir / REPORT
    if record.info["status"] != "running" and report.is_file():
        parts.append(Text(f"report: {clean(str(report))}", "dim"))
    return Group(*parts)


def _head(record: Record, following: Following, now: float) -> Text:
    status, planned = record.info["status"], following.planned_steps
    step = following.step if status == "running" else max(following.step, record.info["last_step"])
    text = Text.assemble((clean(record.run_dir.name), "bold"), "  ", (status, "red" if status == "failed" else "green"))
    text.append(f"  step {step:,}" + (f" of {planned:,} ({step / planned:.0%})" if planned else ""))
    text.append(f"  epoch {following.epoch}")
    silent = now - following.changed_s
    if status == "running" and following.changed_s and silent > SILENT_S:
        text.append(f"  nothing new for {silent / 60:.0f} min: stalled, or killed?", "yellow")
    return text


def _verdict(record: Record, diagnosis: Diagnosis) -> Text:
    """The run's own at the end; before that what its findings say so far."""
    if record.diagnosis is not None:
        told, severity = str(record.diagnosis.get("verdict", "")), record.diagnosis.get("severity")
        return Text(clean(told), _style(severity))
    if diagnosis.severity is not None and diagnosis.severity >= Severity.WARNING:
        return Text(clean(diagnosis.verdict), STYLE[diagnosis.severity])
    return Text(f"Nothing of warning or worse so far ({diagnosis.coverage.counted()}).", "green")


def _style(severity: object) -> str:
    """The style of a severity's name; green for none and for info."""
    named = {str(s): style for s, style in STYLE.items() if s >= Severity.WARNING}
    return named.get(str(severity), "green")


def _curves(following: Following, width: int, blocks: str) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(width=13, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    for signal, curve in following.curves.items():
        if curve.values:
            line = sparkline(curve.steps, curve.values, following.step, width, blocks, decades=signal != "lr")
            table.add_row(NAMES[signal], line, f"{curve.last:.4g}", _range(curve))
    return table if table.row_count else Text("no reading yet", "dim")


def _range(curve: Curve) -> str:
    finite = [x for x in curve.values if math.isfinite(x)]
    return f"{min(finite):.3g} .. {max(finite):.3g}" if finite else "never finite"


def _cost(following: Following) -> Text:
    told = []
    if "system/interval_steps" in following.numbers:
        told.append(f"sampled every {following.numbers['system/interval_steps']:.0f} steps")
    if "system/overhead_frac" in following.numbers:
        told.append(f"own share of step time {100 * following.numbers['system/overhead_frac']:.2g} %")
    return Text(", ".join(told), "dim")


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for finding in findings[:SHOWN_FINDINGS]:
        severity = Text(str(finding.severity).upper(), STYLE[finding.severity])
        where = Text(places(finding.where) or "whole run")  # Text: a name is never markup
        table.add_row(severity, Text(clean(finding.rule)), f"since {finding.first_step}", where)
    if len(findings) > SHOWN_FINDINGS:
        table.add_row("", f"and {len(findings) - SHOWN_FINDINGS} more", "", "")
    return table


def _event(finding: Finding) -> Text:
    what = "resolved" if finding.status == "resolved" else str(finding.severity).upper()
    style = "green" if finding.status == "resolved" else STYLE[finding.severity]
    text = Text.assemble(
        "  ", (f"{what} ", style), f"{clean(finding.rule)} at step {finding.step}: {clean(finding.message)}"
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
