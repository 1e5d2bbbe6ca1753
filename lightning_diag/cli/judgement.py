"""A run or log judged from the command line: each finding with its state, the exit code, and the same as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning_diag import __version__
from lightning_diag.cli.base import FINE, FOUND, NOT_JUDGED
from lightning_diag.cli.known import Known, fingerprints
from lightning_diag.diagnosis import Diagnosis, diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.logs import Log
from lightning_diag.record import Record

JSON_SCHEMA = 1  # grows when an entry of --json changes its meaning or goes

State = Literal["new", "known", "suppressed"]


@dataclass(frozen=True)
class Judged:
    """A finding and what is made of it.

    Attributes:
        finding: the finding.
        fingerprints: ``rule::place`` for each of its places.
        state: ``new``, ``known`` (in the baseline) or ``suppressed``.
        reason: why it is suppressed; empty otherwise.
    """

    finding: Finding
    fingerprints: tuple[str, ...]
    state: State
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data: the finding's and these."""
        own = {"fingerprints": list(self.fingerprints), "state": self.state}
        return {**self.finding.to_dict(), **own, **({"reason": self.reason} if self.reason else {})}


@dataclass(frozen=True)
class Judgement:
    """What ``check`` has to tell.

    Attributes:
        path: the run directory or log.
        source: ``run record`` or the kind of log.
        run_status: ``running``, ``finished`` or ``failed``; ``unknown`` where a log doesn't say.
        items: every finding with its state, most severe first.
        diagnosis: the findings joined, without those that are suppressed.
        caveats: what makes the verdict weaker than the run's own.
        fail_on: severity from which a new finding fails.
        has_baseline: whether a baseline was given.
    """

    path: Path
    source: str
    run_status: str
    items: tuple[Judged, ...]
    diagnosis: Diagnosis
    caveats: list[str]
    fail_on: Severity
    has_baseline: bool

    @property
    def code(self) -> int:
        """The exit code: the worst new finding that did not resolve decides."""
        new = [i.finding.severity for i in self.items if i.state == "new" and i.finding.status != "resolved"]
        if new and max(new) >= self.fail_on:
            return FOUND
        return FINE if self.diagnosis.coverage.ran else NOT_JUDGED

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; :data:`JSON_SCHEMA` is its version."""
        told = self.diagnosis.to_dict()
        return {
            "schema": JSON_SCHEMA,
            "version": __version__,
            "run": str(self.path),
            "source": self.source,
            "run_status": self.run_status,
            "fail_on": str(self.fail_on),
            "exit_code": self.code,
            "verdict": told["verdict"],
            "severity": told["severity"],
            "causes": told["causes"],
            "findings": [item.to_dict() for item in self.items],
            "coverage": told["coverage"],
            "caveats": self.caveats,
        }


def judged(
    run: Record | Log, diagnosis: Diagnosis, known: Known, fail_on: Severity, *, has_baseline: bool
) -> Judgement:
    """Put a diagnosis and what is known beside each other."""
    items = tuple(_state(finding, known) for finding in diagnosis.findings)
    if any(item.state == "suppressed" for item in items):
        diagnosis = diagnose((i.finding for i in items if i.state != "suppressed"), diagnosis.coverage)
    if isinstance(run, Log):
        ended = {None: "unknown", True: "finished", False: "running"}[run.table.ended]
        return Judgement(run.path, run.table.kind, ended, items, diagnosis, run.caveats, fail_on, has_baseline)
    status = str(run.info["status"])
    return Judgement(run.run_dir, "run record", status, items, diagnosis, _caveats(run), fail_on, has_baseline)


def _state(finding: Finding, known: Known) -> Judged:
    marks, reason = fingerprints(finding), known.reason(finding)
    if reason is not None:
        return Judged(finding, marks, "suppressed", reason)
    return Judged(finding, marks, "known" if known.is_known(finding) else "new")


def _caveats(record: Record) -> list[str]:
    """What makes this verdict weaker than the run's own."""
    caveats = []
    if record.info["status"] == "running":
        caveats.append("the run has no end in this record: it goes on, or it was killed")
    if record.thinned:
        caveats.append("readings were left out to keep the record small: the run itself may have been told more")
    if record.damaged:
        lines = "1 line" if record.damaged == 1 else f"{record.damaged} lines"
        caveats.append(f"{lines} of the record could not be read")
    return caveats
