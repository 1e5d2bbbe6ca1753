"""Two kinds of labels from the mean margins of samples: a mixture of two normal distributions."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 400  # the margins are counted in: the fit costs the same for a thousand samples and for a million
ROUNDS = 300  # of expectation and maximization at most
STILL = 1e-6  # change of the weight that ends them
NARROWEST = 0.05  # of the usual margin: a component can't close in on a single sample

Array = NDArray[np.float64]


class MarginFit(NamedTuple):
    """The lower of two components of the margins: labels the network holds against, if it lies low enough.

    Attributes:
        rate: its weight, the share of samples that belong to it.
        error: standard error of that.
        low: its mean, in usual margins.
        high: mean of the other one, in usual margins.
    """

    rate: float
    error: float
    low: float
    high: float


def fit(margins: NDArray[np.floating], usual: float) -> MarginFit:
    """Return the fit to mean margins ``(N,)``; ``usual`` is the median of the positive ones.

    Expectation maximization from a tenth of the samples at ``-usual`` and the others at ``usual``. The error comes from
    the outer product of the scores of all five parameters, so that it grows where the components overlap.

    References:
        Dempster, Laird & Rubin, J. Royal Stat. Soc. B 39, 1977. Arazo et al., Unsupervised label noise modeling and
        loss correction, ICML 2019 (arXiv:1904.11238). McLachlan & Peel, Finite mixture models, 2000, section 2.15.

    >>> rng = np.random.default_rng(0)
    >>> both = np.concatenate([rng.normal(-3, 1, 100), rng.normal(2, 1, 900)])
    >>> got = fit(both, 2.0)
    >>> round(got.rate, 2), round(got.error, 3), round(got.low, 1), round(got.high, 1)
    (0.11, 0.01, -1.4, 1.0)
    """
    counts, edges = np.histogram(margins.astype(np.float64) / usual, BINS)
    x, counts = ((edges[1:] + edges[:-1]) / 2)[counts > 0, None], counts[counts > 0]
    weight, mean, std = np.array([0.1, 0.9]), np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    for _ in range(ROUNDS):
        share = _responsibility(x, weight, mean, std)
        taken = share * counts[:, None]
        size = taken.sum(0) + 1e-9
        old, weight = weight, size / size.sum()
        mean = (taken * x).sum(0) / size
        std = np.maximum(np.sqrt((taken * (x - mean) ** 2).sum(0) / size), NARROWEST)
        if abs(weight[0] - old[0]) < STILL:
            break
    low = int(mean[1] < mean[0])
    return MarginFit(float(weight[low]), _error(x, counts, weight, mean, std), float(mean[low]), float(mean[1 - low]))


def _responsibility(x: Array, weight: Array, mean: Array, std: Array) -> Array:
    """Share of each value ``(n, 1)`` that belongs to each component, ``(n, 2)``."""
    log = np.log(weight) - np.log(std) - ((x - mean) / std) ** 2 / 2
    likely = np.exp(log - log.max(1, keepdims=True))
    made: Array = likely / likely.sum(1, keepdims=True)
    return made


def _error(x: Array, counts: NDArray[np.int64], weight: Array, mean: Array, std: Array) -> float:
    """Standard error of the weight from the empirical information of weight, means and log deviations."""
    share, z = _responsibility(x, weight, mean, std), (x - mean) / std
    of_weight = share[:, 0] / weight[0] - share[:, 1] / weight[1]
    scores = np.column_stack([of_weight, share * z / std, share * (z**2 - 1)])
    information = scores.T @ (scores * counts[:, None])
    variance = float(np.linalg.pinv(information, hermitian=True)[0, 0])
    return math.sqrt(variance) if variance > 0 else math.inf
