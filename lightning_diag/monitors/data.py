"""The data itself."""

from __future__ import annotations

from lightning_diag import detectors
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.accuracy import AccuracyProbe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.classes import ClassProbe
from lightning_diag.probes.data_content import DataContentProbe
from lightning_diag.probes.data_features import DataFeatureProbe
from lightning_diag.probes.data_linear import LinearBaselineProbe
from lightning_diag.probes.loss import LossProbe


class DataMonitor(Monitor):
    """Watches the data as it passes: leaks, duplicates, wrong labels, scale, order, features that give labels away.

    Nothing is read twice and nothing is copied: samples are known by a 63-bit hash of their content, at most 4.2
    million of them (172 MB of host memory; of more an even share). Inputs that can't be told sample by sample (graphs,
    ragged text) are said to be not measurable.

    Signals: ``data/*``, ``baseline/*``; the loss and the classes' counts beside them, because a symptom without a
    consequence is a note and no warning.

    Rules: ``data/*``, ``sanity/worse-than-linear``.

    Example:
        >>> DataMonitor().findings
        []
    """

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        probes = (
            LossProbe(),
            ChanceProbe(),
            AccuracyProbe(),
            ClassProbe(),
            DataContentProbe(),
            DataFeatureProbe(),
            LinearBaselineProbe(),
        )
        return Parts(
            probes=[(name, probe) for probe in probes],
            detectors=[
                detectors.DataLeakage(),
                detectors.DataDuplicates(),
                detectors.DataConflictingLabels(),
                detectors.DataLabelNoise(),
                detectors.DataUnnormalized(),
                detectors.DataUnshuffled(),
                detectors.DataConstantFeature(),
                detectors.DataNonFinite(),
                detectors.DataGiveawayFeature(),
                detectors.DataClassNeverTarget(),
                detectors.DataLabelsShifted(),
                detectors.SanityWorseThanLinear(),
            ],
        )
