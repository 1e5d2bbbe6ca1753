"""Whether features tell one group of samples from another: a linear probe and an MMD, both against permutations.

Host code in NumPy; N rows, F features, P permutations. Products go through ``einsum`` and the inverse through a sweep,
on one thread: BLAS and LAPACK on all cores wait for each other in every call when data loaders keep the cores busy
(measured on two busy cores: 0.4 to 0.9 s for one comparison, instead of 40 ms).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FOLDS = 5
PERMUTATIONS = 199  # smallest p-value: 1 / 200
RIDGE = 0.1  # penalty over the number of training rows, on standardized features
LEAST = 20  # rows of each group


@dataclass(frozen=True)
class Separation:
    """What was found.

    Attributes:
        auc: area under the ROC curve of the probe on rows it was not fitted to; 0.5 = can't tell.
        auc_p: share of permutations with an AUC at least as large.
        error: mean of the two groups' shares of wrong answers; the proxy A-distance is ``2 (1 - 2 error)``.
        mmd: unbiased estimate of the squared maximum mean discrepancy; about 0 for equal distributions.
        mmd_p: share of permutations with one at least as large.
    """

    auc: float
    auc_p: float
    error: float
    mmd: float
    mmd_p: float


def compare(kept: Array, seed: int) -> Array:
    """Compare each domain's rows ``(D, rows, 2 + F)`` with the others'; returns ``(5, D)``, NaN where it can't be."""
    domains = len(kept)
    rows = kept.reshape(-1, kept.shape[2])
    slot = np.repeat(np.arange(domains), kept.shape[1])
    there = np.isfinite(rows[:, 0])
    rows, slot = rows[there], slot[there]
    table = np.full((5, domains), np.nan)
    for d in range(1 if domains == 2 else 0, domains):
        found = separation(rows[:, 2:], slot == d, rows[:, 1].astype(np.int64), np.random.default_rng(seed))
        if found is not None:
            table[:, d] = (found.auc, found.auc_p, found.error, found.mmd, found.mmd_p)
    if domains == 2:
        table[:, 0] = table[:, 1]
    return table


def separation(
    features: Array, group: NDArray[np.bool_], strata: NDArray[np.int64], rng: np.random.Generator
) -> Separation | None:
    """Compare two groups of rows.

    Where strata (classes) are given, each one's mean is taken out and permutations stay inside it: groups that only
    differ in how often a class occurs are not told apart. Strata seen in one group only are left out.

    Args:
        features: ``(N, F)``.
        group: ``(N,)``, True for the one group.
        strata: ``(N,)`` class of each row; -1 everywhere where there are none.
        rng: generator of the folds and permutations.

    Returns:
        None with fewer than 20 rows in either group.

    References:
        Ben-David et al., A theory of learning from different domains, Machine Learning 79, 2010 (proxy A-distance);
        Lopez-Paz & Oquab, Revisiting classifier two-sample tests, ICLR 2017 (arXiv:1610.06545); Gretton et al., A
        kernel two-sample test, JMLR 13, 2012.
    """
    rows = np.isfinite(features).all(1)
    for stratum in np.unique(strata[rows]):
        inside = rows & (strata == stratum)
        if group[inside].all() or not group[inside].any():
            rows &= strata != stratum
    features, group, strata = features[rows], group[rows], strata[rows]
    if min(int(group.sum()), int((~group).sum())) < LEAST:
        return None
    x = _standardized(features, strata)
    if not x.size:
        return Separation(0.5, 1.0, 0.5, 0.0, 1.0)
    labels = _permuted(group, strata, rng)
    answers = ridge_scores(x, labels, rng)
    areas, distances = auc(answers, labels), mmd(x, labels)
    yes = answers[:, 0] > 0
    error = 0.5 * (float(np.mean(~yes[group])) + float(np.mean(yes[~group])))
    return Separation(float(areas[0]), _rank(areas), error, float(distances[0]), _rank(distances))


def ridge_scores(x: Array, labels: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Return scores of held-out rows under ridge regression on the labels, ``(N, P)``, 5 folds.

    Labels are ``(N, P)``, one column a permutation; the matrix to invert doesn't depend on them, so all columns are
    solved at once. They are coded ``+1 / share`` and ``-1 / share``: unequal groups weigh the same.
    """
    share = labels.mean(0)
    y = np.where(labels, 1 / share, -1 / (1 - share))
    out = np.empty(y.shape)
    for held in np.array_split(rng.permutation(len(x)), FOLDS):
        fit = np.ones(len(x), dtype=bool)
        fit[held] = False
        middle = y[fit].mean(0)
        gram = np.einsum("ni,nj->ij", x[fit], x[fit]) + RIDGE * fit.sum() * np.eye(x.shape[1])
        weights = np.einsum("ij,jp->ip", inverse(gram), np.einsum("nf,np->fp", x[fit], y[fit] - middle))
        out[held] = np.einsum("nf,fp->np", x[held], weights)
    return out


def inverse(matrix: Array) -> Array:
    """Return the inverse of a positive definite matrix by sweeps (Goodnight, American Statistician 33, 1979).

    >>> inverse(np.array([[2.0, 1.0], [1.0, 2.0]])).round(4).tolist()
    [[0.6667, -0.3333], [-0.3333, 0.6667]]
    """
    a = matrix.copy()
    for k in range(len(a)):
        pivot, column = a[k, k], a[:, k].copy()
        a -= np.outer(column, column / pivot)
        a[:, k] = a[k] = column / pivot
        a[k, k] = -1 / pivot
    made: Array = -a
    return made


def auc(scores: Array, labels: NDArray[np.bool_]) -> Array:
    """Return the area under the ROC curve of each column, ``(P,)``; ties, which a probe doesn't give, by order."""
    ranks = np.argsort(np.argsort(scores, axis=0), axis=0) + 1.0
    ones = labels.sum(0)
    made: Array = ((ranks * labels).sum(0) - ones * (ones + 1) / 2) / (ones * (len(labels) - ones))
    return made


def mmd(x: Array, labels: NDArray[np.bool_]) -> Array:
    """Return the unbiased squared MMD of each column, ``(P,)``, Gaussian kernel, width = median distance."""
    norms = (x * x).sum(1)
    square = np.maximum(norms[:, None] + norms[None] - 2 * np.einsum("if,jf->ij", x, x), 0)
    width = float(np.median(square[np.triu_indices(len(x), 1)]))
    kernel = np.exp(-square / max(width, 1e-12))
    np.fill_diagonal(kernel, 0.0)
    one = np.ascontiguousarray(labels.T, dtype=np.float64)
    m = one.sum(1)
    n = len(x) - m
    toward = np.einsum("ij,pj->pi", kernel, one)
    within = (one * toward).sum(1)
    cross = toward.sum(1) - within
    rest = kernel.sum() - within - 2 * cross
    made: Array = within / (m * (m - 1)) + rest / (n * (n - 1)) - 2 * cross / (m * n)
    return made


def _standardized(features: Array, strata: NDArray[np.int64]) -> Array:
    """Without each stratum's mean, unit variance, constant columns left out."""
    x = features.astype(np.float64, copy=True)
    for stratum in np.unique(strata):
        inside = strata == stratum
        x[inside] -= x[inside].mean(0)
    spread = x.std(0)
    keep = spread > 1e-9 * max(1e-12, float(np.abs(features).max(initial=0.0)))
    made: Array = x[:, keep] / spread[keep]
    return made


def _permuted(group: NDArray[np.bool_], strata: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The group, and beside it its permutations inside the strata, ``(N, 1 + P)``."""
    labels = np.repeat(group[:, None], PERMUTATIONS + 1, axis=1)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        labels[rows, 1:] = rng.permuted(labels[rows, 1:], axis=0)
    return labels


def _rank(values: Array) -> float:
    """The first value's p-value among all."""
    return float(np.mean(values >= values[0] - 1e-12))
