"""The command ``lightning-diag``: one file a command, listed in :mod:`lightning_diag.cli.front`."""

from lightning_diag.cli.front import main

__all__ = ["main"]
