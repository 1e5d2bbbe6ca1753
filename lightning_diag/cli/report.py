"""``lightning-diag report RUN``: draw the report of a run again."""

from __future__ import annotations

import argparse

from lightning_diag.cli.base import FINE, Command, add_run, say
from lightning_diag.sinks._news import clean


def run(options: argparse.Namespace) -> int:
    """Write ``report.html`` and print its path."""
    from lightning_diag.report import write  # noqa: PLC0415 - `rules` and `check` draw nothing

    say(clean(str(write(options.record))))
    return FINE


COMMAND = Command(help="write report.html of a run again and print its path", arguments=add_run, run=run)
