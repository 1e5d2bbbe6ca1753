"""Errors per class."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_diag import detectors
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.accuracy import AccuracyProbe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.classes import ClassProbe
from lightning_diag.probes.data_found import BatchContentsProbe
from lightning_diag.probes.loss import LossProbe


class ClassErrorMonitor(Monitor):
    """Watches each class's error, support and predictions, on validation at every pass and on sampled train batches.

    Signals: ``class/*``.

    Rules: ``classes/*``.

    Args:
        class_names: names in the order of the classes; default the data set's ``classes``, or ``class 0``,
            ``class 1`` ...

    Example:
        >>> ClassErrorMonitor(class_names=["cat", "dog"]).class_names
        ('cat', 'dog')
    """

    def __init__(self, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        self.class_names = tuple(str(name) for name in class_names or ())

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        probes = (LossProbe(), ChanceProbe(), AccuracyProbe(), BatchContentsProbe(), ClassProbe(self.class_names))
        return Parts(
            probes=[(name, probe) for probe in probes],
            detectors=[
                detectors.ClassDrift(),
                detectors.ClassCollapsed(),
                detectors.ClassNeglected(),
                detectors.ClassConfused(),
                detectors.ClassImbalanced(),
            ],
        )
