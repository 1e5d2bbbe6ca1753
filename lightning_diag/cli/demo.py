"""``lightning-diag demo``: the only command that loads torch."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_diag.cli.base import Command


def run(arguments: Sequence[str]) -> int:
    """Run the demo with arguments of its own."""
    from lightning_diag import demo  # noqa: PLC0415 - needs torch

    return demo.main(arguments)


COMMAND = Command(
    help="watch it find a mistake and a domain gap (half a minute, CPU, no network)",
    arguments=lambda parser: None,  # parsed by the demo itself
    run=lambda options: run(()),
)
