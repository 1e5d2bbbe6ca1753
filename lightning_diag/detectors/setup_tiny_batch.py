"""``setup/tiny-batch``: each optimizer step averages over very few samples."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import whole
from lightning_diag.detectors.base import NEVER, Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class SetupTinyBatch(Detector):
    """Each optimizer step averages over very few samples. A note that helps the diagnosis.

    Catches:
        A batch size of 1 to 4 that came from a memory limit, with the learning rate of a large one.

    Formula:
        batch size x accumulated batches x processes, below ``samples``.

    Reads:
        facts only, once the task is known.

    Args:
        samples: an optimizer step; higher = said more often. Default 6: at unchanged learning rate batches of 1, 2 and
            4 cost 4 to 31 points on small images, batches of 8 nothing.

    Fires when:
        info only: with the learning rate that goes with it a small batch trains as well. Not for language models, whose
        sample holds many targets.

    False alarms:
        It never warns.

    Cost:
        Once a run.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(batch_size=2, task="classification")
        >>> found = SetupTinyBatch().update(Reading(30, 0, {"loss/train": np.float64(2.3)}, facts))
        >>> str(found.severity), found.evidence["value"]
        ('info', 2.0)

    References:
        McCandlish et al., An empirical model of large-batch training, 2018 (arXiv:1812.06162). Smith et al., Don't
        decay the learning rate, increase the batch size, ICLR 2018 (arXiv:1711.00489).
    """

    rule: ClassVar[str] = "setup/tiny-batch"
    code: ClassVar[str] = "Z020"
    reads: ClassVar[tuple[str, ...]] = ("loss/train",)
    severity: ClassVar[Severity] = Severity.INFO
    title: ClassVar[str] = "Very small batches"
    resolve_after: ClassVar[int | None] = None
    rests_until: int = NEVER  # until more is known of the run

    def __init__(self, samples: int = 6) -> None:
        self.samples = whole("samples", samples, 1)
        super().__init__()

    def _reset(self) -> None:
        self._looked = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge the batch once."""
        facts = reading.facts
        if self._looked:
            return None
        size = facts.samples_a_step
        if size is None or facts.task is None:
            raise NotMeasurable("the batch size or the task is not known")
        self._looked = True
        if facts.task == "language-model" or size >= self.samples:
            return None
        return self.found(
            reading,
            Severity.INFO,
            f"Each optimizer step averages over {size} sample{'' if size == 1 else 's'} (limit {self.samples}).",
            evidence={"value": float(size), "limit": float(self.samples)},
            advice=("accumulate gradients over 8 batches, or lower the learning rate with the batch size",),
        )
