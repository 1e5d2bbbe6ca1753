"""``lightning-diag watch RUN``: a run in progress in the terminal, for people who only have ssh."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from lightning_diag.cli.base import FINE, Command
from lightning_diag.cli.following import Following, find_run
from lightning_diag.cli.frame import frame
from lightning_diag.record import load

DESCRIPTION = """\
Show a run in progress: the verdict so far, curves of loss, learning rate and gradient norm, open findings, and the
latest news. It reads the record that the run writes, wherever it runs, and ends when the run ends; Ctrl-C leaves it
earlier and does nothing to the run.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, and how often to look."""
    parser.add_argument(
        "record",
        metavar="RUN",
        type=Path,
        nargs="?",
        default=Path(),
        help="run directory, or a folder of runs: the newest one is shown (default: this folder)",
    )
    parser.add_argument("--once", action="store_true", help="print one frame and leave (also when piped)")
    parser.add_argument("--every", metavar="S", type=float, default=1.0, help="seconds between frames (default: 1)")


def run(options: argparse.Namespace) -> int:
    """Draw frames until the run is over."""
    console = Console(highlight=False)
    run_dir = find_run(options.record)
    following = Following(run_dir)
    unicode = (console.encoding or "").lower().startswith("utf")

    def draw() -> tuple[Group, bool]:
        following.read()
        record = load(run_dir)
        return frame(record, following, console.width, unicode=unicode), record.info["status"] != "running"

    picture, over = draw()
    if options.once or not console.is_terminal:
        console.print(picture)
        return FINE
    try:
        with Live(picture, console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while not over:
                time.sleep(max(options.every, 0.1))
                picture, over = draw()
                live.update(picture, refresh=True)
    except KeyboardInterrupt:
        return FINE
    return FINE


COMMAND = Command(help="show a run in progress in the terminal", arguments=arguments, run=run, description=DESCRIPTION)
