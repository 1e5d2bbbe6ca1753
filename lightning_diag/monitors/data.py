"""The data itself."""

from __future__ import annotations

from typing import Any

from lightning_diag import detectors
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.accuracy import AccuracyProbe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.classes import ClassProbe
from lightning_diag.probes.conditions import ConditionsProbe
from lightning_diag.probes.data_content import DataContentProbe
from lightning_diag.probes.data_features import DataFeatureProbe
from lightning_diag.probes.data_found import BatchContentsProbe
from lightning_diag.probes.data_keys import hashed_tensors, keys_on_host
from lightning_diag.probes.data_linear import LinearBaselineProbe
from lightning_diag.probes.data_near import DataNearProbe
from lightning_diag.probes.data_sequences import DataSequenceProbe
from lightning_diag.probes.loss import LossProbe


class DataMonitor(Monitor):
    """Watches the data as it passes: leaks, duplicates, wrong labels, scale, order, features that give labels away.

    Nothing is read twice and nothing is copied: samples are known by a 63-bit hash of their content, at most 4.2
    million of them (206 MB of host memory; of more an even share). Inputs that can't be told sample by sample (graphs,
    ragged text) are said to be not measurable.

    Signals: ``data/*``, ``baseline/*``; the loss and the classes' counts beside them, because a symptom without a
    consequence is a note and no warning.

    Rules: ``data/*``, ``sanity/worse-than-linear``, ``setup/mostly-padding``.

    Example:
        >>> DataMonitor().findings
        []
    """

    @staticmethod
    def content_keys(batch: Any) -> list[str]:
        """Return the content keys of a batch's samples, as ``suspicious_labels.csv`` and findings name them.

        A key depends on the inputs as the training step gets them: after transforms, in their final type. Empty where
        samples can't be told one by one.

        >>> import torch
        >>> DataMonitor.content_keys((torch.arange(6.0).reshape(2, 3), torch.zeros(2)))
        ['31d02b25485c8300', '2deba0a22db02040']
        """
        tensors = hashed_tensors(batch)
        return [f"{key:016x}" for key in keys_on_host(tensors)] if tensors else []

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        probes = (
            LossProbe(),
            ChanceProbe(),
            AccuracyProbe(),
            ClassProbe(),
            ConditionsProbe(),
            BatchContentsProbe(),
            DataContentProbe(),
            DataNearProbe(),
            DataFeatureProbe(),
            LinearBaselineProbe(),
            DataSequenceProbe(),
        )
        return Parts(
            probes=[(name, probe) for probe in probes],
            detectors=[
                detectors.DataLeakage(),
                detectors.DataNearLeakage(),
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
                detectors.DataValAtChance(),
                detectors.DataAlikeSequences(),
                detectors.SetupMostlyPadding(),
                detectors.SanityWorseThanLinear(),
            ],
        )
