"""The pack that nobody wrote into the program: ``LIGHTNING_DIAG=1`` put it on the trainer."""

from __future__ import annotations

from lightning_diag.monitors.diagnostics import Diagnostics


class StandIn(Diagnostics):
    """``Diagnostics()`` with its defaults, wherever the trainer has no monitor of the user's own.

    A class of its own, so that Lightning keeps its state in a checkpoint apart from that of the user's ``Diagnostics``.

    Example:
        >>> StandIn().state_key, Diagnostics().state_key
        ('StandIn', 'Diagnostics')
    """

    stands_in = True
