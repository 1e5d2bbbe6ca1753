"""The command ``lightning-diag``. Only ``demo`` needs torch; everything else starts without it.

Exit codes: 0 fine; 1 ``check`` found something at or above ``--fail-on``; 2 nothing could be judged, or misuse.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_diag import __version__
from lightning_diag._judge import matches
from lightning_diag._replay import check, shipped
from lightning_diag.detectors.base import Detector
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import DiagnosticsError
from lightning_diag.finding import Severity
from lightning_diag.record import Record, load
from lightning_diag.sinks._news import clean
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.console import ConsoleSink

JSON_SCHEMA = 1  # grows when an entry of --json changes its meaning or goes
FINE, FOUND, NOT_JUDGED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: arguments without the program's name; None = ``sys.argv[1:]``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["demo"]:  # it has options of its own
        from lightning_diag import demo  # noqa: PLC0415 - the only part that needs torch

        return demo.main(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except DiagnosticsError as error:
        _complain(str(error))
        return NOT_JUDGED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightning-diag", description="A linter for training runs.")
    parser.add_argument("--version", action="version", version=f"lightning-diag {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    commands.add_parser("demo", help="watch it find a mistake and a domain gap (half a minute, CPU, no network)")

    report = commands.add_parser("report", help="write report.html of a run again and print its path")
    report.add_argument("record", metavar="RUN", type=Path, help="run directory: it holds run.json")
    report.set_defaults(run=_report)

    judge = commands.add_parser(
        "check",
        help="run the detectors over a finished run",
        description="Run the detectors over a finished run. Exit code 0: fine; 1: a finding at or above --fail-on that "
        "did not resolve; 2: nothing could be judged.",
    )
    judge.add_argument("record", metavar="RUN", type=Path, help="run directory: it holds run.json")
    judge.add_argument("--select", metavar="GLOB", action="append", help="only these rules, such as 'loss/*' or loss")
    judge.add_argument("--ignore", metavar="GLOB", action="append", default=[], help="all but these rules")
    judge.add_argument(
        "--fail-on", choices=[str(s) for s in Severity], default="warning", help="exit 1 from here (default: warning)"
    )
    judge.add_argument("--json", action="store_true", help="print one JSON object")
    judge.add_argument("-v", "--verbose", action="store_true", help="also info, and why checks were skipped")
    judge.set_defaults(run=_check)

    rules = commands.add_parser("rules", help="list the rules, or say all about one")
    rules.add_argument("name", metavar="NAME", nargs="?", help="rule, code or glob, such as loss/spike, L001 or loss")
    rules.set_defaults(run=_rules)
    return parser


def _report(options: argparse.Namespace) -> int:
    from lightning_diag.report import write  # noqa: PLC0415 - `rules` and `check` draw nothing

    _say(clean(str(write(options.record))))
    return FINE


def _check(options: argparse.Namespace) -> int:
    record = load(options.record)
    diagnosis = check(record, select=options.select or ("*",), ignore=options.ignore)
    code = _exit_code(diagnosis, Severity.parse(options.fail_on))
    if options.json:
        _say(json.dumps(_as_json(record, diagnosis, options.fail_on, code), indent=2, allow_nan=False))
        return code
    sink = ConsoleSink(verbose=options.verbose, file=sys.stdout)
    sink.open(RunInfo(record.run_dir, record.info["name"]))
    for finding in diagnosis.findings:
        sink.finding(finding)
    sink.close(diagnosis)
    for caveat in _caveats(record):
        _say(f"  note: {caveat}")
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


def _rules(options: argparse.Namespace) -> int:
    every = shipped()
    if options.name is None:
        chosen = every
    else:
        chosen = [cls for cls in every if cls.code == options.name.upper() or matches(cls.rule, (options.name,))]
    if not chosen:
        near = difflib.get_close_matches(options.name, [name for cls in every for name in (cls.rule, cls.code)], 3, 0.4)
        _complain(f"no rule is called {options.name!r}{_meant(near)}")
        return NOT_JUDGED
    if options.name is not None and len(chosen) == 1:
        _say(_page(chosen[0]))
        return FINE
    wide = max(len(cls.rule) for cls in chosen)
    for cls in chosen:
        _say(f"{cls.code}  {cls.rule:<{wide}}  {cls.severity!s:<8}  {cls.title}")
    return FINE


def _meant(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else "; `lightning-diag rules` lists them"


def _page(cls: type[Detector]) -> str:
    head = f"{cls.rule} ({cls.code}): {cls.title}. Up to {cls.severity}."
    return f"{head}\n\n{inspect.cleandoc(cls.__doc__ or '').replace('``', '`')}"


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))  # a terminal may lack a sign


def _complain(text: str) -> None:
    sys.stderr.write(f"lightning-diag: {clean(text)}\n")
