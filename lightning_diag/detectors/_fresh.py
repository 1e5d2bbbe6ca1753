"""Whether parameters that nothing trains are still the random numbers they were made with, and take part at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._parameters import sizes, weighty
from lightning_diag.detectors._streak import Mask
from lightning_diag.reading import Facts, Reading
from lightning_diag.streaming.state import restore, snapshot

SAMPLED = 512  # elements of a larger parameter that its kurtosis was taken from, at least
LEAST = 64  # elements of a matrix that tell how its values are distributed
UNIFORM, UNIFORM_SD = 1.8, 1.15  # kurtosis of a uniform distribution; its standard error times the root of n
NORMAL, NORMAL_SD = 3.0, math.sqrt(24)
ERRORS = 4.0  # standard errors within which a kurtosis agrees
SURE = 0.5  # share of the parameters
SMALL_HEAD = 0.5  # classes over inputs of a last layer that may as well stay as it is


class Fresh:
    """Keeps what the first sampled step told of each parameter.

    Values drawn from a uniform distribution (PyTorch's default of linear, convolution and recurrent layers) have a
    kurtosis of 1.8; training rounds off the edges within a few hundred steps. Those drawn from a normal one have 3, as
    many trained matrices nearly do: they say nothing alone, but biases that all are 0 and norms that all are 1 do.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._kurtosis = np.zeros(0)
        self._norm = np.zeros(0)
        self._called = np.zeros(0)

    def see(self, reading: Reading) -> None:
        """Take in the one reading that holds it."""
        if "weight/kurtosis" not in reading.values:
            return
        found = [reading.vector(name) for name in ("weight/kurtosis", "weight/parameter_norm", "weight/called")]
        self._kurtosis, self._norm, self._called = (np.zeros(0) if f is None else f for f in found)

    def known(self, count: int) -> bool:
        """Whether it was measured, for this many parameters."""
        return len(self._kurtosis) == len(self._norm) == len(self._called) == count > 0

    def as_made(self, mask: Mask, facts: Facts) -> bool:
        """Whether what ``mask`` ``(P,)`` picks looks untrained: half of it surely, and nothing like trained values."""
        says = self._says(len(mask), facts)
        return bool((says[mask] == 1).mean() >= SURE and (says[mask] >= 0).all() and not self._copied(mask, facts))

    def trained(self, mask: Mask, facts: Facts) -> bool:
        """Whether some of what ``mask`` ``(P,)`` picks surely was trained before."""
        return bool((self._says(len(mask), facts)[mask] == -1).any())

    def called(self, mask: Mask) -> Mask:
        """Where a module that owns the parameter was called in training ``(P,)``; False where nobody looked."""
        return mask & (self._called == 1) if self.known(len(mask)) else np.zeros_like(mask)

    def _says(self, count: int, facts: Facts) -> NDArray[np.intp]:
        """1 surely as it was made, -1 surely trained, 0 can't be told or was not measured, ``(count,)``."""
        if not self.known(count) or len(facts.parameter_numel) != count:
            return np.zeros(count, dtype=np.intp)
        kurtosis, numel = self._kurtosis, sizes(facts.parameter_numel)
        root = np.sqrt(np.minimum(numel, SAMPLED))
        matrix = weighty(facts.parameter_kind)
        uniform = np.abs(kurtosis - UNIFORM) <= ERRORS * UNIFORM_SD / root
        low, high = UNIFORM - ERRORS * UNIFORM_SD / root, NORMAL + ERRORS * NORMAL_SD / root
        says = np.where((kurtosis < low) | (kurtosis > high), -1, 0)
        says[~matrix & np.isfinite(kurtosis) & ~uniform] = -1  # a bias or a norm that has left the value it starts with
        says[matrix & uniform] = 1  # uniform biases hardly change their distribution in training
        says[numel < LEAST] = 0
        says[(kurtosis == 0) | ((self._norm == 0) & (numel >= LEAST**0.5))] = 1
        return says

    def _copied(self, mask: Mask, facts: Facts) -> bool:
        """Whether a matrix in ``mask`` began as the copy of one outside: a target network, a teacher."""
        drawn = np.isfinite(self._kurtosis) & (self._kurtosis > 0)
        keys = list(zip(facts.parameter_numel, self._kurtosis.tolist(), strict=True))
        outside = {keys[i] for i in np.flatnonzero(drawn & ~mask)}
        return any(keys[i] in outside for i in np.flatnonzero(drawn & mask))

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)


def small_head(mask: Mask, facts: Facts) -> bool:
    """Whether ``mask`` is a classifier's last layer alone, of far fewer classes than inputs.

    A fixed random one does nearly as well, for the features turn towards it: Hoffer et al., *Fix your classifier*, ICLR
    2018 (arXiv:1801.04540).
    """
    weights = np.flatnonzero(weighty(facts.parameter_kind))
    if facts.task != "classification" or not len(weights) or len(facts.parameter_fan_in) != len(mask):
        return False
    last = weights[-1]
    alone = bool(mask[last]) and not mask[:last].any()
    inputs = facts.parameter_fan_in[last]
    return alone and facts.parameter_numel[last] <= SMALL_HEAD * inputs**2
