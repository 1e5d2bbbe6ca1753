"""``lightning-diag preflight PROGRAM``: the first steps of a training program, looked at before it is let run."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lightning_diag._replay import check, open_run
from lightning_diag.cli.base import FOUND, NOT_JUDGED, Command, complain, say
from lightning_diag.cli.check import tell
from lightning_diag.cli.judgement import Judgement, judged
from lightning_diag.cli.known import gather
from lightning_diag.finding import Finding, Severity
from lightning_diag.record.reader import RUN
from lightning_diag.sinks._news import clean

PREFLIGHT = "LIGHTNING_DIAG_PREFLIGHT"  # what `_environment` asks for
PREFLIGHT_STEPS = "LIGHTNING_DIAG_PREFLIGHT_STEPS"
STDERR = 2  # the descriptor
WIRING = ("sanity/input-ignored", "sanity/batch-mixing")
DESCRIPTION = """\
Run a training program for its first optimizer steps only, with Diagnostics(sanity="full"), and say what is wrong with
its wiring: is the input ignored, do samples mix, can one batch be learned, is every parameter trained, does the first
loss stand at chance? Nothing of the program is changed. Its loggers and checkpoints are switched off and the program
ends after the last step; what else it writes before that, it writes. lightning-diag must be installed in the
environment that the program runs in.

exit codes:
  0  judged, and nothing found
  1  a warning or worse, or a fault in the wiring of any severity: a few steps are too short to see the harm
  2  nothing could be judged: no fit was reached, it crashed, or it took too long
"""
EPILOG = """\
examples:
  lightning-diag preflight train.py --lr 0.1
  lightning-diag preflight --json -- -m my_package.train fit --config config.yaml
  lightning-diag preflight my-training-cli fit --config config.yaml
"""


@dataclasses.dataclass(frozen=True)
class Verdict(Judgement):
    """A judgement of a run that was cut short: faults in the wiring fail whatever their severity."""

    @property
    def code(self) -> int:
        """The exit code."""
        if any(item.finding.rule in WIRING and _stands(item.finding) for item in self.items):
            return FOUND
        if not any(rule.startswith("sanity/") for rule in self.diagnosis.coverage.ran) and not super().code:
            return NOT_JUDGED
        return super().code


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to run, how long, and how to tell it."""
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps to look at (default: 12)")
    parser.add_argument(
        "--timeout", type=float, default=1800.0, metavar="S", help="seconds it may take (default: 1800)"
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="where the record goes (default: a temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-v", "--verbose", action="store_true", help="also info, and why checks were skipped")
    parser.add_argument("program", metavar="PROGRAM", nargs=argparse.REMAINDER, help="script, -m MODULE or command")


def run(options: argparse.Namespace) -> int:
    """Run the program, judge its record and print what was found."""
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program or options.steps < 1:
        complain("preflight needs a program to run, and at least 1 step: lightning-diag preflight train.py")
        return NOT_JUDGED
    folder = options.run_dir or Path(tempfile.mkdtemp(prefix="lightning-diag-preflight-")) / "record"
    if (folder / RUN).exists():
        complain(f"{folder} holds a record already")
        return NOT_JUDGED
    failure = _started(command(program), folder, options.steps, options.timeout)
    if not (folder / RUN).exists():
        complain(failure or "no fit was reached: is lightning-diag installed in the program's environment?")
        return NOT_JUDGED
    record = open_run(folder, {})
    judgement = judged(record, check(record), gather(None, [], None), Severity.WARNING, has_baseline=False)
    verdict = Verdict(**{field.name: getattr(judgement, field.name) for field in dataclasses.fields(judgement)})
    if options.json:
        say(json.dumps(verdict.to_dict(), indent=2, allow_nan=False))
    else:
        tell(verdict, folder.name, verbose=options.verbose)
        for rule, reason in verdict.diagnosis.coverage.skipped.items():
            if rule.startswith("sanity/") and not options.verbose:
                say(f"  not judged: {rule}: {clean(reason)}")
    return verdict.code


def command(program: list[str]) -> list[str]:
    """Return the whole command: a script or module is run by this Python.

    >>> command(["train.py", "--lr", "1"])[1:], command(["my-cli", "fit"])
    (['train.py', '--lr', '1'], ['my-cli', 'fit'])
    """
    own = program[0] == "-m" or program[0].endswith(".py")
    return [sys.executable, *program] if own else program


def _started(program: list[str], folder: Path, steps: int, timeout_s: float) -> str:
    """Run the program to its end; returns why it came to nothing, as far as that can be told; else empty.

    What it prints goes to standard error: standard output is ours.
    """
    environment = {
        **os.environ,
        PREFLIGHT: str(folder.resolve()),
        PREFLIGHT_STEPS: str(steps),
        "WANDB_MODE": "disabled",
    }
    try:
        done = subprocess.run(program, env=environment, stdout=STDERR, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"the program took more than {timeout_s:g} s"
    except OSError as error:
        return f"the program can't be started: {error}"
    return f"the program ended with exit code {done.returncode} before a fit" if done.returncode else ""


def _stands(finding: Finding) -> bool:
    return finding.status != "resolved"


COMMAND = Command(
    help="run a training program for its first steps only and say what is wrong with its wiring",
    arguments=arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
