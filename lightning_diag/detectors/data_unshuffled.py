"""``data/unshuffled``: batches are sorted by label or target."""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._data import Doing
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class DataUnshuffled(Detector):
    """Samples of a batch are alike: the training set is sorted by label or target and not shuffled.

    Catches:
        ``shuffle=False`` over a folder a class, a sorted table, a sampler that draws one class at a time.

    Formula:
        classes: ``(p - c) / (1 - c)`` with p the share of a batch's pairs that share a label and c the same over all
        labels so far (what a shuffled batch has on average, whatever its size); mean of ``window`` sampled batches.
        Regression: standard deviation of the batches' means over what the spread within a batch explains,
        ``var(means) * B / mean(var)``.

    Reads:
        ``data/same_label data/same_label_chance data/target_mean data/target_std``, and the loss.

    Args:
        limit: excess of equal pairs, 0 = shuffled, 1 = one class a batch; higher = later. Default 0.5.
        ratio: variance of batch means over the expected one; higher = later. Default 5.
        window: sampled batches. Default 20.

    Fires when:
        info; a warning where the loss or validation is no better than 0.9 times chance: an easy task survives sorting.

    False alarms:
        Sequential tasks and curricula stay a note. Batches of one class on purpose (metric learning).

    Cost:
        O(K) a sampled batch.

    Examples:
        >>> detector = DataUnshuffled()
        >>> values = {"data/same_label": np.float64(0.98), "data/same_label_chance": np.float64(0.1)}
        >>> for step in range(1, 100):
        ...     try:
        ...         found = detector.update(Reading(step, 0, values))
        ...     except NotMeasurable:
        ...         continue
        ...     break
        >>> step, str(found.severity)
        (20, 'info')

    References:
        Bengio, Practical recommendations for gradient-based training, 2012 (arXiv:1206.5533), section 2.3.
    """

    rule: ClassVar[str] = "data/unshuffled"
    code: ClassVar[str] = "I006"
    reads: ClassVar[tuple[str, ...]] = ("data/same_label", "data/target_mean", "loss/val")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Batches are sorted"
    refresh: ClassVar[bool] = True

    def __init__(self, limit: float = 0.5, ratio: float = 5.0, window: int = 20) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.ratio = number("ratio", ratio, 1)
        self.window = whole("window", window, 5)
        super().__init__()

    def _reset(self) -> None:
        self._doing = Doing()
        self._excess: deque[float] = deque(maxlen=self.window)
        self._means: deque[float] = deque(maxlen=self.window)
        self._stds: deque[float] = deque(maxlen=self.window)

    def update(self, reading: Reading) -> Finding | None:
        """Judge the batches of the window."""
        self._doing.see(reading)
        same, chance = reading.scalar("data/same_label"), reading.scalar("data/same_label_chance")
        mean, std = reading.scalar("data/target_mean"), reading.scalar("data/target_std")
        if same is not None and chance is not None:
            self._excess.append((same - chance) / (1 - chance) if chance < 0.99 else math.nan)
        elif mean is not None and std is not None:
            self._means.append(mean)
            self._stds.append(std)
        if len(self._excess) == self.window:
            return self._classes(reading)
        if len(self._means) == self.window:
            return self._targets(reading)
        raise NotMeasurable(f"needs {self.window} sampled batches with labels or targets")

    def _classes(self, reading: Reading) -> Finding | None:
        known = [x for x in self._excess if math.isfinite(x)]
        if len(known) < self.window // 2:
            raise NotMeasurable("only one class has passed yet")
        excess = float(np.mean(known))
        if excess <= self.limit:
            return None
        text = f"{percent(excess)} of what could be mixed within a batch isn't: its samples share their label"
        return self._finding(reading, f"{text} (limit {percent(self.limit)})", excess, self.limit)

    def _targets(self, reading: Reading) -> Finding | None:
        within = float(np.mean(np.square(self._stds)))
        size = reading.facts.batch_size or 1
        if within <= 0 or size < 4:
            raise NotMeasurable("needs batches of at least 4 different targets")
        ratio = float(np.var(self._means, ddof=1)) * size / within
        if ratio <= self.ratio:
            return None
        text = f"The batches' mean targets vary {ratio:.3g} times as much as chance allows (limit {self.ratio:g})"
        return self._finding(reading, text, ratio, self.ratio)

    def _finding(self, reading: Reading, text: str, value: float, limit: float) -> Finding:
        return self.found(
            reading,
            Severity.WARNING if self._doing.suffers else Severity.INFO,
            f"{text}: the training set is sorted and not shuffled.",
            evidence={"value": value, "limit": limit},
            advice=("set `shuffle=True` on the training loader (or shuffle the stream in a buffer) for one epoch",),
        )
