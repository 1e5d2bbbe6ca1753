"""What a stuck user sees: ``lightning-diag demo`` trains on real data, plants a mistake and lets the diagnosis find it.

Nothing heavy is imported before :func:`main` runs.
"""

from lightning_diag.demo.command import main

__all__ = ["main"]
