"""``lightning-diag check RUN``: the detectors over a finished run, with exit codes for a pipeline."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from lightning_diag import __version__
from lightning_diag._replay import check
from lightning_diag.cli.base import FINE, FOUND, NOT_JUDGED, Command, add_run, say
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.finding import Severity
from lightning_diag.record import Record, load
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.console import ConsoleSink

JSON_SCHEMA = 1  # grows when an entry of --json changes its meaning or goes


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to judge, how severely, and how to tell it."""
    add_run(parser)
    parser.add_argument("--select", metavar="GLOB", action="append", help="only these rules, such as 'loss/*' or loss")
    parser.add_argument("--ignore", metavar="GLOB", action="append", default=[], help="all but these rules")
    parser.add_argument(
        "--fail-on", choices=[str(s) for s in Severity], default="warning", help="exit 1 from here (default: warning)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-v", "--verbose", action="store_true", help="also info, and why checks were skipped")


def run(options: argparse.Namespace) -> int:
    """Judge the run and print what was found."""
    record = load(options.record)
    diagnosis = check(record, select=options.select or ("*",), ignore=options.ignore)
    code = _exit_code(diagnosis, Severity.parse(options.fail_on))
    if options.json:
        say(json.dumps(_as_json(record, diagnosis, options.fail_on, code), indent=2, allow_nan=False))
        return code
    sink = ConsoleSink(verbose=options.verbose, file=sys.stdout)
    sink.open(RunInfo(record.run_dir, record.info["name"]))
    for finding in diagnosis.findings:
        sink.finding(finding)
    sink.close(diagnosis)
    for caveat in _caveats(record):
        say(f"  note: {caveat}")
    return code


def _exit_code(diagnosis: Diagnosis, fail_on: Severity) -> int:
    if diagnosis.severity is not None and diagnosis.severity >= fail_on:
        return FOUND
    return FINE if diagnosis.coverage.ran else NOT_JUDGED


def _as_json(record: Record, diagnosis: Diagnosis, fail_on: str, code: int) -> dict[str, Any]:
    told = diagnosis.to_dict()
    return {
        "schema": JSON_SCHEMA,
        "version": __version__,
        "run": str(record.run_dir),
        "run_status": record.info["status"],
        "fail_on": fail_on,
        "exit_code": code,
        "verdict": told["verdict"],
        "severity": told["severity"],
        "causes": told["causes"],
        "findings": [finding.to_dict() for finding in diagnosis.findings],
        "coverage": told["coverage"],
        "caveats": _caveats(record),
    }


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


COMMAND = Command(
    help="run the detectors over a finished run",
    arguments=arguments,
    run=run,
    description="Run the detectors over a finished run. Exit code 0: fine; 1: a finding at or above --fail-on that "
    "did not resolve; 2: nothing could be judged.",
)
