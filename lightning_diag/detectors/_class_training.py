"""How training answers each class: counts between validation passes, and whether errors rose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightning_diag.detectors._classes import added
from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

STRETCHES = 2  # between passes, the newest, held against as many before them


class ClassTraining:
    """Training errors of each class, over the last four stretches between validation passes.

    >>> training = ClassTraining()
    >>> for right in (40.0, 40.0, 30.0, 20.0):
    ...     counts = {"class/train_support": np.array([50.0, 50]), "class/train_right": np.array([40.0, right])}
    ...     training.see(Reading(1, 0, counts))
    ...     training.close()
    >>> [round(training.rise(k), 1) for k in (0, 1)]
    [0.0, 4.7]
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._now: list[list[float]] = []  # support and right answers per class since the last pass
        self._past: list[list[list[float]]] = []

    def see(self, reading: Reading) -> None:
        """Take in a reading's counts of training batches, if it holds any."""
        support, right = reading.vector("class/train_support"), reading.vector("class/train_right")
        if support is None or right is None:
            return
        self._now = added(self._now, np.stack([support, right]))

    def close(self) -> None:
        """A validation pass is over."""
        fits = bool(self._past) and np.shape(self._past[-1]) == np.shape(self._now)
        self._past = [*(self._past if fits else []), self._now][-2 * STRETCHES :] if self._now else []
        self._now = []

    def rise(self, k: int) -> float:
        """Standard errors by which errors of class ``k`` rose; NaN where too little is known."""
        if len(self._past) < 2 * STRETCHES:
            return math.nan
        support, right = np.array(self._past)[:, :, k].reshape(2, STRETCHES, 2).sum(1).T
        if not (support > 0).all():
            return math.nan
        error = (support - right) / support
        shrunk = (support - right + 1) / (support + 2)  # one success and one failure added
        return float((error[1] - error[0]) / np.sqrt((shrunk * (1 - shrunk) / support).sum()))

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
