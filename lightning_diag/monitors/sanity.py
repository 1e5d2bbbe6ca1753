"""The wiring."""

from __future__ import annotations

from lightning_diag.detectors.sanity_batch_mixing import SanityBatchMixing
from lightning_diag.detectors.sanity_input_ignored import SanityInputIgnored
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.loss import LossProbe
from lightning_diag.probes.sanity import SanityProbe


class SanityMonitor(Monitor):
    """Checks the wiring in the first steps: the input matters, and samples of a batch stay apart.

    It makes the calls of the user's step again, with 4 samples, on copies of the modules that were called; nothing
    else of the user's is run, and nothing is run twice on his own modules. With several processes, sharded weights or
    modules beyond 512 MB it says why it doesn't.

    Signals: ``sanity/*``; the loss beside them, because a symptom without a consequence is a note and no warning.

    Rules: ``sanity/input-ignored``, ``sanity/batch-mixing``.

    Example:
        >>> SanityMonitor().findings
        []
    """

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        return Parts(
            probes=[(name, probe) for probe in (LossProbe(), ChanceProbe(), SanityProbe())],
            detectors=[SanityInputIgnored(), SanityBatchMixing()],
        )
