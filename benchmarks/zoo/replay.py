"""The detectors over stored readings: what was said, when, and which cause led. Needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.zoo.detectors import fresh_detectors
from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.record import load


@dataclass(frozen=True)
class Alarm:
    """The first time a rule was said at warning or worse.

    Attributes:
        rule: the rule.
        severity: worst severity it came to.
        step: step of the reading at which it was first a warning: what the user waits for.
        where: places it named then.
        message: what it said then.
    """

    rule: str
    severity: Severity
    step: int
    where: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Verdict:
    """What was said of one run.

    Attributes:
        alarms: one a rule at warning or worse, in order of time.
        infos: rules that stayed at info.
        cause: first cause of the last diagnosis that named one; empty when none did.
        explained: rules of that cause.
        ran: rules that were judged.
        skipped: rule -> reason.
    """

    alarms: tuple[Alarm, ...] = ()
    infos: tuple[str, ...] = ()
    cause: str = ""
    explained: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)


def replay(run_dir: Path, detectors: Sequence[Detector] | None = None) -> Verdict:
    """Run fresh detectors over a record, as the pipeline would have."""
    judge = Judge(fresh_detectors() if detectors is None else detectors)
    alarms: dict[str, Alarm] = {}
    cause, explained = "", tuple[str, ...]()
    for reading in load(run_dir).readings():
        changes = judge.update(judge.enrich(reading))
        for finding in changes:
            _note(alarms, finding, reading.step)
        if changes and (causes := judge.diagnosis.causes):
            cause, explained = causes[0].name, tuple(f.rule for f in causes[0].findings)
    final = {f.rule: f.severity for f in judge.findings}
    told = sorted(alarms.values(), key=lambda a: (a.step, -a.severity, a.rule))
    return Verdict(
        alarms=tuple(told),
        infos=tuple(sorted(r for r, s in final.items() if s == Severity.INFO)),
        cause=cause,
        explained=explained,
        ran=judge.coverage.ran,
        skipped=dict(judge.coverage.skipped),
    )


def _note(alarms: dict[str, Alarm], finding: Finding, step: int) -> None:
    if finding.severity < Severity.WARNING or finding.status == "resolved":
        return
    old = alarms.get(finding.rule)
    if old is None:
        alarms[finding.rule] = Alarm(finding.rule, finding.severity, step, finding.where, finding.message)
    elif finding.severity > old.severity:
        alarms[finding.rule] = Alarm(old.rule, finding.severity, old.step, old.where, old.message)
