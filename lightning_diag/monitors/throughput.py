"""Where the time goes, and the memory."""

from __future__ import annotations

from lightning_diag import detectors
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.throughput import ThroughputProbe


class ThroughputMonitor(Monitor):
    """Watches how long batches are waited for, and the memory of the process and the device.

    Signals: ``time/*`` and ``memory/*``, at sampled steps, of all the steps since the sample before.

    Rules: ``system/input-bound``, ``system/memory-growth``.

    Example:
        >>> ThroughputMonitor().findings
        []
    """

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        return Parts(
            probes=[(type(self).__name__, ThroughputProbe())],
            detectors=[detectors.SystemInputBound(), detectors.SystemMemoryGrowth()],
        )
