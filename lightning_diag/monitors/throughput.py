"""Where the time goes, and the memory; whether processes agree."""

from __future__ import annotations

from lightning_diag import detectors
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.loss import LossProbe
from lightning_diag.probes.ranks import RankProbe
from lightning_diag.probes.throughput import ThroughputProbe


class ThroughputMonitor(Monitor):
    """Watches how long batches are waited for, memory, and what several processes should have in common or not.

    Signals: ``time/*`` and ``memory/*``, at sampled steps, of all the steps since the sample before; ``rank/*`` of
    several processes.

    Rules: ``system/*``.

    Example:
        >>> ThroughputMonitor().findings
        []
    """

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        return Parts(
            probes=[(name, ThroughputProbe()), (name, RankProbe()), (name, LossProbe())],
            detectors=[
                detectors.SystemInputBound(),
                detectors.SystemMemoryGrowth(),
                detectors.SystemRankDivergence(),
                detectors.SystemSameDataOnRanks(),
                detectors.SystemStraggler(),
            ],
        )
