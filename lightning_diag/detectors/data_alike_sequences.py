"""``data/alike-sequences``: the sequences of a batch don't differ."""

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


class DataAlikeSequences(Detector):
    """Nearly all token sequences of the batches are the same.

    Catches:
        A tokenizer whose vocabulary doesn't fit (everything becomes the unknown token), a data set that returns its
        first text for every index, a prompt whose varying part is cut off.

    Formula:
        share of samples that equal their neighbour in the batch wherever both hold a token (padding left out), mean of
        ``window`` sampled batches.

    Reads:
        ``data/alike_frac``.

    Args:
        limit: share of the samples; higher = fires on clearer cases only. Default 0.9: of sequences with anything to
            tell from few are equal.
        window: sampled batches. Default 20.

    Fires when:
        a warning above the limit: the loss may fall all the same, because the same sequence is soon known by heart.

    False alarms:
        A set in which one sequence makes up more than 95 % of the samples (log lines).

    Cost:
        None beyond the probe's.

    Examples:
        >>> detector = DataAlikeSequences()
        >>> for step in range(1, 100):
        ...     try:
        ...         found = detector.update(Reading(step, 0, {"data/alike_frac": np.float64(1.0)}))
        ...     except NotMeasurable:
        ...         continue
        ...     break
        >>> step, str(found.severity)
        (20, 'warning')

    References:
        Karpathy, A recipe for training neural networks, 2019: look at what goes into the network, decoded.
    """

    rule: ClassVar[str] = "data/alike-sequences"
    code: ClassVar[str] = "I013"
    reads: ClassVar[tuple[str, ...]] = ("data/alike_frac", "data/padding_told_by")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Sequences are all alike"
    refresh: ClassVar[bool] = True

    def __init__(self, limit: float = 0.9, window: int = 20) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.window = whole("window", window, 1)
        super().__init__()

    def _reset(self) -> None:
        self._shares: deque[float] = deque(maxlen=self.window)

    def update(self, reading: Reading) -> Finding | None:
        """Judge the batches of the window."""
        share = reading.scalar("data/alike_frac")
        if share is None or not math.isfinite(share):
            raise NotMeasurable("no batches of two or more token sequences for an embedding have passed")
        self._shares.append(share)
        if len(self._shares) < self.window:
            raise NotMeasurable(f"needs {self.window} sampled batches of tokens")
        alike = float(np.mean(self._shares))
        if alike <= self.limit:
            return None
        return self.found(
            reading,
            Severity.WARNING,
            f"{percent(alike)} of the sequences equal their neighbour in the batch (limit {percent(self.limit)}).",
            evidence={"value": alike, "limit": self.limit},
            advice=(
                "decode two sequences of a batch back to text and read them: is it two texts of the set?",
                "count the unknown token's share: if it is near 1, tokenizer and vocabulary don't belong together",
            ),
        )
