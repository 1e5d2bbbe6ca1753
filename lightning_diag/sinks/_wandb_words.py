"""Findings and verdict as W&B is told: rows of the table, alerts, summary."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.finding import Finding
from lightning_diag.signals import PREFIX
from lightning_diag.sinks._charts import TABLE
from lightning_diag.sinks._news import clean, places

COLUMNS = ("rule", "severity", "status", "since step", "step", "where", "message", "advice")
MAX_TITLE = 63  # "should be less than 64 characters", says Run.alert


def rows(findings: Sequence[Finding]) -> list[list[object]]:
    """Return the table: one row a rule, most severe first."""
    order = sorted(findings, key=lambda f: (-f.severity, f.status == "resolved", f.first_step, f.rule))
    return [_row(finding) for finding in order]


def _row(finding: Finding) -> list[object]:
    where, advice = clean(", ".join(finding.where)), clean("; ".join(finding.advice))
    steps = [finding.first_step, finding.step]
    return [finding.rule, str(finding.severity), finding.status, *steps, where, clean(finding.message), advice]


def title(finding: Finding) -> str:
    """Return an alert's title."""
    return f"{finding.severity}: {clean(finding.rule)}"[:MAX_TITLE]


def text(finding: Finding, held: int) -> str:
    """Return an alert's text.

    Args:
        finding: what is told.
        held: alerts that were held back since the last.
    """
    lines = [f"{clean(finding.message)} (since step {finding.first_step})"]
    if finding.where:
        lines.append(f"Where: {places(finding.where, 5)}")
    if finding.advice:
        lines.append(f"Next: {clean(finding.advice[0])}")
    if held:
        lines.append(f"{held} more alerts were held back: see the table {TABLE}.")
    return "\n".join(lines)


def summary(findings: Sequence[Finding], overhead: float | None, diagnosis: Diagnosis | None) -> dict[str, object]:
    """Return the summary's entries, of values to sort runs and sweeps by.

    Args:
        findings: every finding so far.
        overhead: own share of step time, if it was measured.
        diagnosis: at the end; None before.
    """
    told: dict[str, object] = {
        "worst_severity": str(max(f.severity for f in findings)) if findings else "none",
        "open_findings": sum(f.status != "resolved" for f in findings),
    }
    if overhead is not None:
        told["overhead_frac"] = overhead
    if diagnosis is not None:
        top = diagnosis.causes[0] if diagnosis.causes else None
        told["verdict"] = clean(diagnosis.verdict)
        told["cause"] = "none" if top is None else top.name
        told["next_experiment"] = "" if top is None else clean(top.experiment)
    return {f"{PREFIX}{key}": value for key, value in told.items()}
