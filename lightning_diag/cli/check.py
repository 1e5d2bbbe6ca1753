"""``lightning-diag check RUN_OR_LOG``: the detectors over a finished run, with exit codes for a pipeline."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lightning_diag._replay import check, open_run
from lightning_diag.cli.base import FINE, NOT_JUDGED, Command, say
from lightning_diag.cli.judgement import Judgement, judged
from lightning_diag.cli.known import add_suppressions, gather, write_baseline
from lightning_diag.cli.limits import detectors
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from lightning_diag.logs import Log
from lightning_diag.sinks._news import clean
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.console import ConsoleSink

DESCRIPTION = """\
Run the detectors over a finished run: a run directory (it holds run.json), or the log of a run that was never watched
(Lightning's metrics.csv, W&B's run-*.wandb, TensorBoard's events.out.tfevents.*, or the folder of one run's).

exit codes:
  0  judged, and no new finding at or above --fail-on is open
  1  a new finding at or above --fail-on that did not resolve
  2  nothing could be judged, it can't be read, or the command is wrong
"""
EPILOG = """\
examples:
  lightning-diag check RUN --fail-on critical --json
  lightning-diag check RUN --write-baseline known.txt        what is there today is known ...
  lightning-diag check RUN --baseline known.txt              ... and only what is new fails
  lightning-diag check RUN --suppress 'activations/dead::encoder.*=frozen on purpose'
  lightning-diag check lightning_logs/version_3 --map loss/train=nll
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to judge, how severely, and how to tell it."""
    parser.add_argument("record", metavar="RUN_OR_LOG", type=Path, help="run directory, or the log of a run")
    rules = parser.add_argument_group("what is judged")
    rules.add_argument("--select", metavar="GLOB", action="append", help="only these rules, such as 'loss/*' or loss")
    rules.add_argument("--ignore", metavar="GLOB", action="append", default=[], help="all but these rules")
    rules.add_argument(
        "--set",
        metavar="RULE.LIMIT=VALUE",
        action="append",
        default=[],
        help="another limit, such as loss/spike.limit=12 (`lightning-diag rules RULE` names them)",
    )
    rules.add_argument(
        "--map",
        metavar="SIGNAL=COLUMN",
        action="append",
        default=[],
        help="which column of a log is which signal, such as loss/train=nll",
    )
    news = parser.add_argument_group("what fails")
    news.add_argument(
        "--fail-on", choices=[str(s) for s in Severity], default="warning", help="exit 1 from here (default: warning)"
    )
    news.add_argument("--baseline", metavar="FILE", type=Path, help="known findings (rule::place): they don't fail")
    news.add_argument("--write-baseline", metavar="FILE", type=Path, help="write what is found as known, and exit 0")
    add_suppressions(news)
    form = parser.add_argument_group("how it is told")
    shape = form.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON object")
    shape.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for code hosts and editors")
    form.add_argument("-v", "--verbose", action="store_true", help="also info, and why checks were skipped")


def run(options: argparse.Namespace) -> int:
    """Judge the run and print what was found."""
    known = gather(options.baseline, options.suppress, options.suppressions)
    record = open_run(options.record, columns(options.map))
    made = detectors(options.set)
    diagnosis = check(record, detectors=made, select=options.select or ("*",), ignore=options.ignore)
    has_baseline = options.baseline is not None
    judgement = judged(record, diagnosis, known, Severity.parse(options.fail_on), has_baseline=has_baseline)
    if options.write_baseline is not None:
        return _write_baseline(options.write_baseline, judgement)
    if options.json:
        say(json.dumps(judgement.to_dict(), indent=2, allow_nan=False))
    elif options.sarif:
        from lightning_diag.cli.sarif import to_sarif  # noqa: PLC0415 - only here

        say(json.dumps(to_sarif(judgement), indent=2, allow_nan=False))
    else:
        name = record.path.name if isinstance(record, Log) else record.info["name"]
        tell(judgement, name, verbose=options.verbose)
    return judgement.code


def columns(given: list[str]) -> dict[str, str]:
    """Return signal -> column of ``--map`` arguments.

    >>> columns(["loss/train=nll=mean"])
    {'loss/train': 'nll=mean'}
    """
    pairs = [text.partition("=") for text in given]
    for signal, _, column in pairs:
        if not signal or not column:
            raise ConfigurationError(f"--map must be SIGNAL=COLUMN, got {signal!r}")
    return {signal: column for signal, _, column in pairs}


def _write_baseline(path: Path, judgement: Judgement) -> int:
    if not judgement.diagnosis.coverage.ran:
        say(clean(judgement.diagnosis.verdict))
        return NOT_JUDGED
    wanted = [item.finding for item in judgement.items if item.state != "suppressed"]
    count = write_baseline(path, wanted)
    say(f"{count} {'place' if count == 1 else 'places'} of {len(wanted)} findings are known now: {clean(str(path))}")
    return FINE


def tell(judgement: Judgement, name: str, *, verbose: bool) -> None:
    """Print news as lines, the verdict, and what is no news."""
    sink = ConsoleSink(verbose=verbose, file=sys.stdout)
    sink.open(RunInfo(judgement.path if judgement.source == "run record" else None, name))
    for item in judgement.items:
        if item.state == "new":
            sink.finding(item.finding)
    sink.close(judgement.diagnosis)
    for item in judgement.items:
        marks = ", ".join(item.fingerprints[:3]) + (", ..." if len(item.fingerprints) > 3 else "")
        if item.state == "known":
            say(f"  known: {marks}")
        elif item.state == "suppressed":
            say(f"  suppressed: {marks} ({item.reason})")
    for caveat in judgement.caveats:
        say(f"  note: {clean(caveat)}")


COMMAND = Command(
    help="run the detectors over a finished run, or over the log of one that was not watched",
    arguments=arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
