"""``lightning-diag report RUN``: draw the report of a run again."""

from __future__ import annotations

import argparse

from lightning_diag.cli.base import FINE, Command, add_run, say
from lightning_diag.cli.known import add_suppressions, gather
from lightning_diag.sinks._news import clean


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run and what is accepted."""
    add_run(parser)
    add_suppressions(parser)


def run(options: argparse.Namespace) -> int:
    """Write ``report.html`` and print its path."""
    from lightning_diag.report import write  # noqa: PLC0415 - `rules` and `check` draw nothing

    known = gather(None, options.suppress, options.suppressions)
    say(clean(str(write(options.record, accepted=known.reason))))
    return FINE


COMMAND = Command(
    help="write report.html of a run again and print its path",
    arguments=arguments,
    run=run,
    description="Write report.html of a run again, also while the run goes on, and print its path. What is accepted is "
    "left out of the verdict and listed with its reason.",
)
