"""``lightning-diag compare RUN GOOD [GOOD ...]``: is this run worse than known-good ones, or is it noise?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_diag import __version__
from lightning_diag._replay import open_run
from lightning_diag.cli.base import FINE, FOUND, NOT_JUDGED, Command, say
from lightning_diag.cli.check import columns
from lightning_diag.cli.comparison import WORDS, Compared, compare, findings, verdict
from lightning_diag.cli.differences import Difference, differences, settings
from lightning_diag.cli.measured import Curves, measure
from lightning_diag.finding import Finding, Severity
from lightning_diag.logs import Log
from lightning_diag.record import Record
from lightning_diag.sinks._news import clean
from lightning_diag.sinks.console import STYLE

JSON_SCHEMA = 1  # grows when an entry of --json changes its meaning or goes
SHOWN_DIFFERENCES = 20

DESCRIPTION = """\
Compare a run with known-good runs of the same task: where the training loss ended and how low it came, what it gained,
validation, and the scale of gradients. How much runs of one kind differ is measured between the known-good runs: give
at least two, better three or more, that differ in their seed only. With one, differences are listed but not judged.

exit codes:
  0  not worse than seed noise explains
  1  worse (see --fail-on)
  2  nothing could be compared, or the command is wrong
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the runs."""
    parser.add_argument("record", metavar="RUN", type=Path, help="run directory or log: the one in question")
    parser.add_argument("good", metavar="GOOD", type=Path, nargs="+", help="known-good runs or logs")
    parser.add_argument(
        "--fail-on", choices=[str(s) for s in Severity], default="warning", help="exit 1 from here (default: warning)"
    )
    parser.add_argument(
        "--map", metavar="SIGNAL=COLUMN", action="append", default=[], help="which column of a log is which signal"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Compare and print."""
    names = columns(options.map)
    sources = [open_run(path, names) for path in (options.record, *options.good)]
    curves = [Curves.of(source.readings()) for source in sources]
    end = min(curve.last_step for curve in curves)
    own, *good = [measure(curve, end) for curve in curves]
    compared = compare(own, good) if end else []
    found = findings(compared, own, good, end) if end else []
    known = [settings(source, curve) for source, curve in zip(sources, curves, strict=True)]
    told = differences(known[0], known[1:])
    text = verdict(found, compared, len(good))
    fail_on = Severity.parse(options.fail_on)
    code = NOT_JUDGED if not compared and not found else FOUND if any(f.severity >= fail_on for f in found) else FINE
    remarks = _caveats(sources, [curve.last_step for curve in curves], end)
    if options.json:
        data = {
            "schema": JSON_SCHEMA,
            "version": __version__,
            "run": str(options.record),
            "baselines": [str(path) for path in options.good],
            "common_steps": end,
            "fail_on": options.fail_on,
            "exit_code": code,
            "verdict": text,
            "quantities": [item.to_dict() for item in compared],
            "findings": [finding.to_dict() for finding in found],
            "differences": [item.to_dict() for item in told],
            "caveats": remarks,
        }
        say(json.dumps(data, indent=2, allow_nan=False, default=str))
        return code
    _tell(text, found, compared, told, remarks)
    return code


def _caveats(sources: list[Record | Log], steps: list[int], end: int) -> list[str]:
    """What makes the comparison weaker than it looks."""
    caveats = []
    if max(steps) > end:
        caveats.append(f"the runs have {min(steps):,} to {max(steps):,} steps: the first {end:,} are compared")
    for source in sources[1:]:
        told = source.diagnosis if isinstance(source, Record) else None
        if told is not None and told.get("severity") == str(Severity.CRITICAL):
            caveats.append(f"{_name(source)} is taken as known-good, but was told: {told.get('verdict')}")
    if len(sources) == 2:
        caveats.append("1 known-good run: the noise between seeds is not known; two more would tell")
    elif len(sources) == 3:
        caveats.append("2 known-good runs: only very large differences can be told from noise; a third helps much")
    return caveats


def _name(source: Record | Log) -> str:
    return source.path.name if isinstance(source, Log) else str(source.run_dir.name)


def _tell(
    text: str, found: list[Finding], compared: list[Compared], told: list[Difference], remarks: list[str]
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    worst = max((f.severity for f in found), default=None)
    console.print(Text(clean(text), STYLE[worst] if worst is not None and worst >= Severity.WARNING else "green"))
    if compared:
        console.print(_table(compared))
    for finding in found:
        if finding.severity >= Severity.WARNING and finding.first_step < finding.step:
            console.print(Text(f"{finding.rule}: above all known-good runs since about step {finding.first_step}"))
    if told:
        console.print(Text("what differs (known-good runs on the right)", "bold"))
        for item in told[:SHOWN_DIFFERENCES]:
            others = " | ".join(dict.fromkeys(_short(value) for value in item.good))
            console.print(Text(clean(f"  {item.name}: {_short(item.run)}  <>  {others}")))
        if len(told) > SHOWN_DIFFERENCES:
            console.print(Text(f"  and {len(told) - SHOWN_DIFFERENCES} more: see --json"))
    elif compared:
        console.print(Text("no setting that is known differs"))
    for remark in remarks:
        console.print(Text(f"note: {clean(remark)}", "dim"))


def _table(compared: list[Compared]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for name in ("", "run", "known-good", "sd", "p", ""):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for item in compared:
        unknown = item.n == 1
        table.add_row(
            WORDS[item.quantity],
            f"{item.value:.4g}",
            f"{item.mean:.4g}",
            "?" if unknown else f"{item.sd:.2g}",
            "?" if unknown else f"{item.p:.2g}",
            Text(item.verdict, {"worse": "bold yellow", "better": "green"}.get(item.verdict, "")),
        )
    return table


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "not known" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


COMMAND = Command(
    help="is a run worse than known-good ones, or is it noise?", arguments=arguments, run=run, description=DESCRIPTION
)
