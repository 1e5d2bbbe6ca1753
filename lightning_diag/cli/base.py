"""What the commands share: exit codes, saying and complaining, the argument that names a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lightning_diag.sinks._news import clean

FINE, FOUND, NOT_JUDGED = 0, 1, 2


class Command(NamedTuple):
    """One command: its line in the help, its arguments, and what it does.

    Attributes:
        help: one line of ``lightning-diag --help``.
        arguments: adds the command's arguments to its parser.
        run: does the work with the parsed arguments and returns the exit code.
        description: longer text of the command's own help; ``help`` where empty.
        epilog: text under the arguments, as it stands.
    """

    help: str
    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], int]
    description: str = ""
    epilog: str = ""


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a run directory."""
    parser.add_argument("record", metavar="RUN", type=Path, help="run directory: it holds run.json")


def say(text: str) -> None:
    """Print a line; signs the terminal lacks become question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))


def complain(text: str) -> None:
    """Print a line to standard error."""
    sys.stderr.write(f"lightning-diag: {clean(text)}\n")
