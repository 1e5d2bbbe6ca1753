"""Gradients and updates."""

from __future__ import annotations

from lightning_diag import detectors
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.accuracy import AccuracyProbe
from lightning_diag.probes.along import AlongProbe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.gradient import GradientProbe
from lightning_diag.probes.loss import LossProbe
from lightning_diag.probes.modes import ModeProbe
from lightning_diag.probes.precision import PrecisionProbe
from lightning_diag.probes.scaler import ScalerProbe
from lightning_diag.probes.start import StartProbe


class GradientMonitor(Monitor):
    """Watches gradient norms, clipping and update-to-weight ratios.

    Signals: ``grad/*``, ``weight/parameter_norm``, ``update/*``, ``lr``, ``scaler/*``; the loss beside
    them, because a symptom without a consequence is a note and no warning.

    Rules: ``gradients/*`` and ``updates/*``, ``setup/odd-initialization``, ``setup/adam-with-l2``,
    ``setup/decay-on-norm``, ``setup/eval-mode``.

    Example:
        >>> GradientMonitor().findings
        []
    """

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        return Parts(
            probes=[
                (name, LossProbe()),
                (name, ChanceProbe()),
                (name, AccuracyProbe()),
                (name, GradientProbe()),
                (name, StartProbe()),
                (name, ModeProbe()),
                (name, PrecisionProbe()),
                (name, AlongProbe()),
                (name, ScalerProbe()),
            ],
            detectors=[
                detectors.GradientVanishing(),
                detectors.GradientExploding(),
                detectors.GradientNonFinite(),
                detectors.GradientUnreached(),
                detectors.GradientAlwaysClipped(),
                detectors.GradientAccumulating(),
                detectors.GradientScalerSkipping(),
                detectors.GradientUnderflow(),
                detectors.UpdateTooLarge(),
                detectors.UpdateTooSmall(),
                detectors.UpdateFrozen(),
                detectors.UpdateLost(),
                detectors.UpdateUnequal(),
                detectors.SetupOddInitialization(),
                detectors.SetupEvalMode(),
                detectors.SetupAdamWithL2(),
                detectors.SetupDecayOnNorm(),
            ],
        )
