"""The loss, at every step."""

from __future__ import annotations

from lightning_diag import detectors
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.accuracy import AccuracyProbe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.loss import LossProbe
from lightning_diag.probes.loss_slips import LossSlipProbe


class StabilityMonitor(Monitor):
    """Watches the training loss at every step and the validation loss at every pass.

    Signals: ``loss/*``, ``accuracy/*``; ``origin/*`` at the first loss that is not finite.

    Rules: ``loss/*`` and ``fit/*``.

    Example:
        >>> StabilityMonitor().findings
        []
    """

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        return Parts(
            probes=[(name, LossProbe()), (name, ChanceProbe()), (name, LossSlipProbe()), (name, AccuracyProbe())],
            detectors=[
                detectors.LossSpike(),
                detectors.LossDiverging(),
                detectors.LossNonFinite(),
                detectors.LossPlateau(),
                detectors.LossOscillating(),
                detectors.LossNotLearning(),
                detectors.LossBadStart(),
                detectors.LossMismatched(),
                detectors.LossTooSlow(),
                detectors.SetupTinyBatch(),
                detectors.FitOverfitting(),
                detectors.FitUnderfitting(),
                detectors.FitOverRegularized(),
                detectors.FitTooGood(),
            ],
        )
