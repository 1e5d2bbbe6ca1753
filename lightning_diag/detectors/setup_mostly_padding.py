"""``setup/mostly-padding``: most positions of the batches are padding."""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

TOLD_BY = ("", "the batch's mask", "the batch's lengths", "the embedding's padding_idx", "a constant tail")
FIXED = 0.1  # share of the positions beyond the longest sample from which padding to it is worth a word


class SetupMostlyPadding(Detector):
    """Most positions of the sequence batches are padding: the network computes on nothing most of the time.

    Catches:
        Texts padded to the model's longest input, one long sample among short ones in each batch.

    Formula:
        share of a batch's positions that are padding, mean of ``window`` sampled batches; told by an attention mask or
        lengths in the batch, by an embedding's ``padding_idx``, or by the one token that ends most samples and stands
        nowhere else. Where none of these is there it isn't judged.

    Reads:
        ``data/padding_frac data/padding_beyond_frac data/padding_told_by data/sequence_length``.

    Args:
        limit: share of positions; higher = said later. Default 0.5, which is what unpacked pre-training of BERT pays
            (Krell et al.).
        window: sampled batches with a known share. Default 20.
        length: positions a sample below which nothing is said: so short sequences cost little, padded or not; higher =
            quieter. Default 16.

    Fires when:
        info only: the model learns the same, slower.

    False alarms:
        It never warns. Layers that skip padding (packed sequences, attention over ragged batches) lose less than it
        says.

    Cost:
        A dozen comparisons of the tokens a sampled batch.

    Examples:
        >>> detector = SetupMostlyPadding()
        >>> values = {"data/padding_frac": np.float64(0.7), "data/padding_beyond_frac": np.float64(0.5),
        ...           "data/sequence_length": np.float64(128), "data/padding_told_by": np.float64(1)}
        >>> for step in range(1, 100):
        ...     try:
        ...         found = detector.update(Reading(step, 0, values))
        ...     except NotMeasurable:
        ...         continue
        ...     break
        >>> step, str(found.severity), found.evidence["beyond_longest"]
        (20, 'info', 0.5)

    References:
        Krell et al., Efficient sequence packing without cross-contamination, 2021 (arXiv:2107.02027). Khomenko et al.,
        Accelerating recurrent neural network training using sequence bucketing, 2017 (arXiv:1708.05604).
    """

    rule: ClassVar[str] = "setup/mostly-padding"
    code: ClassVar[str] = "Z021"
    reads: ClassVar[tuple[str, ...]] = ("data/padding_told_by",)
    severity: ClassVar[Severity] = Severity.INFO
    title: ClassVar[str] = "Batches are mostly padding"
    refresh: ClassVar[bool] = True

    def __init__(self, limit: float = 0.5, window: int = 20, length: int = 16) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.window = whole("window", window, 1)
        self.length = whole("length", length, 2)
        super().__init__()

    def _reset(self) -> None:
        self._shares: deque[float] = deque(maxlen=self.window)
        self._beyond: deque[float] = deque(maxlen=self.window)
        self._lengths: deque[float] = deque(maxlen=self.window)

    def update(self, reading: Reading) -> Finding | None:
        """Judge the batches of the window."""
        share = reading.scalar("data/padding_frac")
        if share is None:
            raise NotMeasurable("no tokens for an embedding, nor sequences with a mask or lengths, have passed")
        if not math.isfinite(share):
            raise NotMeasurable("no mask, lengths, `padding_idx` or constant tail says which tokens are padding")
        self._shares.append(share)
        self._beyond.append(reading.scalar("data/padding_beyond_frac") or 0.0)
        self._lengths.append(reading.scalar("data/sequence_length") or 0.0)
        if len(self._shares) < self.window:
            raise NotMeasurable(f"needs {self.window} sampled batches whose padding is known")
        weights = np.array(self._lengths)
        padding, length = float(np.average(self._shares, weights=weights)), float(weights.mean())
        if padding <= self.limit or length < self.length:
            return None
        return self._finding(reading, padding, float(np.average(self._beyond, weights=weights)), length)

    def _finding(self, reading: Reading, padding: float, beyond: float, length: float) -> Finding:
        told_by = TOLD_BY[int(reading.scalar("data/padding_told_by") or 0)]
        left = (padding - beyond) / (1 - beyond) if beyond < 1 else math.nan
        first = (
            f"pad each batch to its own longest sample (in `collate_fn`), not to a fixed length: {percent(beyond)} of "
            "the positions fall away",
        )
        bucket = f"put samples of like length into a batch (buckets by length): {percent(left)} of what a batch's "
        bucket += "longest sample needs is padding, too"
        return self.found(
            reading,
            Severity.INFO,
            f"{percent(padding)} of the batches' positions are padding, told by {told_by} (limit "
            f"{percent(self.limit)}; {length:.0f} positions a sample): as much of the work on them is lost.",
            evidence={
                "value": padding, "limit": self.limit, "beyond_longest": beyond, "length": length,
                "told_by": told_by,
            },
            advice=(*(first if beyond >= FIXED else ()), *((bucket,) if left >= FIXED else ())),
        )  # fmt: skip
