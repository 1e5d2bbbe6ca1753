"""How straight the way of the weights has been: distance from where they were first over the length of the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightning_diag.detectors._parameters import arrays, matrices
from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot


class Way:
    """Adds up the lengths of the steps, between samples by the trapezoidal rule, and compares them with the distance.

    Steps that are large enough for the loss surface overshoot and turn: the way soon becomes several times as long as
    the distance. Steps that are far too small keep their direction: both stay alike. A ratio of lengths, so neither the
    scale of the weights nor that of the gradients matters. (Li et al., *Visualizing the loss landscape of neural nets*,
    NeurIPS 2018, section 7, look at such ways; Schneider et al., *Cockpit*, NeurIPS 2021, show the distance.)

    >>> from lightning_diag.reading import Facts
    >>> way, facts = Way(), Facts(parameter_kind=("matrix",))
    >>> for step in range(1, 102):
    ...     values = {"weight/parameter_norm": np.array([2.0]), "update/parameter_ratio": np.array([0.01])}
    ...     values["weight/distance"] = np.array([0.01 * (step - 1)])
    ...     way.see(Reading(step, 0, values, facts))
    >>> round(way.straight, 2), way.grown
    (0.5, 1.0)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.straight = math.nan  # distance over length, median over weight matrices
        self.straightest = math.nan  # the same of the one whose way is the straightest
        self.grown = math.nan  # their norm over that at first, the same
        self._step = -1
        self._first = np.zeros(0)  # norm of each weight matrix at first
        self._length = np.zeros(0)  # of the way so far, a weight matrix
        self._last = np.zeros(0)  # of the newest step

    def see(self, reading: Reading) -> None:
        """Take in a sampled step; those without a distance, or of other parameters than before, change nothing."""
        try:
            found = arrays(reading, "weight/parameter_norm", "update/parameter_ratio", "weight/distance")
        except NotMeasurable:
            return
        chosen = matrices(reading.facts)
        weight, ratio, distance = (v[chosen] for v in found)
        step = np.nan_to_num(weight * ratio)
        if self._step < 0 or len(self._length) != len(step):
            self._length, self._first = np.zeros(len(step)), weight
        else:
            self._length = self._length + (reading.step - self._step) * (step + self._last) / 2
            moved = (self._length > 0) & (self._first > 0)
            if moved.any():
                straight = distance[moved] / self._length[moved]
                self.straight, self.straightest = float(np.median(straight)), float(np.max(straight))
                self.grown = float(np.median(weight[moved] / self._first[moved]))
        self._step, self._last = reading.step, step

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
