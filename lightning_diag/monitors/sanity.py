"""The wiring."""

from __future__ import annotations

from lightning_diag import detectors
from lightning_diag.detectors.base import Detector
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.base import Probe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.loss import LossProbe
from lightning_diag.probes.sanity import SanityProbe
from lightning_diag.probes.sanity_full import FullSanityProbe


class SanityMonitor(Monitor):
    """Checks the wiring in the first steps: the input matters, and samples of a batch stay apart.

    It makes the calls of the user's step again, with 4 samples, on copies of the modules that were called; nothing
    else of the user's is run, and nothing is run twice on his own modules. With several processes, sharded weights or
    modules beyond 512 MB it says why it doesn't.

    With ``full`` it also trains copies of the whole module on the first batch, before the run's first step: up to 800
    training steps in the memory of a second training. That runs the user's ``training_step``, ``log`` and loggers
    switched off: what else it does (files it writes, counters outside the module) it does that often.

    Signals: ``sanity/*``; the loss beside them, because a symptom without a consequence is a note and no warning.

    Rules: ``sanity/input-ignored``, ``sanity/batch-mixing``; with ``full`` ``sanity/cannot-overfit-batch``,
    ``sanity/train-eval-gap``, ``sanity/wrong-gradient``, ``sanity/random-labels-as-easy``.

    Args:
        full: whether one batch is learned by heart, too. Default False.

    Example:
        >>> SanityMonitor().findings
        []
    """

    def __init__(self, full: bool = False) -> None:
        super().__init__()
        self.full = full

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        probes: list[Probe] = [LossProbe(), ChanceProbe(), SanityProbe()]
        made: list[Detector] = [detectors.SanityInputIgnored(), detectors.SanityBatchMixing()]
        if self.full:
            probes.append(FullSanityProbe())
            made += [
                detectors.SanityCannotOverfitBatch(),
                detectors.SanityTrainEvalGap(),
                detectors.SanityWrongGradient(),
                detectors.SanityRandomLabelsAsEasy(),
            ]
        return Parts(probes=[(name, probe) for probe in probes], detectors=made)
