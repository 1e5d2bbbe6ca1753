from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances

from lightning_diag.probes import domain_separation as ds

NONE = np.full(80, -1, np.int64)


def rows(n: int = 80, features: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, features))


def labels(n: int = 80, columns: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((n, columns)) < 0.4


def test_scores_are_those_of_ridge_regression_fold_by_fold() -> None:
    x, y = rows(), labels()
    made = ds.ridge_scores(x, y, np.random.default_rng(3))
    for column in range(y.shape[1]):
        share = y[:, column].mean()
        coded = np.where(y[:, column], 1 / share, -1 / (1 - share))
        for held in np.array_split(np.random.default_rng(3).permutation(80), ds.FOLDS):
            fit = np.setdiff1d(np.arange(80), held)
            model = Ridge(alpha=ds.RIDGE * len(fit), fit_intercept=False).fit(x[fit], coded[fit] - coded[fit].mean())
            assert made[held, column] == pytest.approx(model.predict(x[held]), abs=1e-9)


def test_the_area_is_scikit_learns() -> None:
    x, y = rows(features=3), labels()
    for column, area in enumerate(ds.auc(x, y)):
        assert area == pytest.approx(roc_auc_score(y[:, column], x[:, column]))


def test_the_discrepancy_is_the_double_sum() -> None:
    x, y = rows(), labels()
    square = euclidean_distances(x, squared=True)
    kernel = np.exp(-square / np.median(square[np.triu_indices(80, 1)]))
    for column, got in enumerate(ds.mmd(x, y)):
        a, b = np.flatnonzero(y[:, column]), np.flatnonzero(~y[:, column])
        inside = [kernel[i, j] for g in (a, b) for i in g for j in g if i != j]
        n, m = len(a), len(b)
        first, second = sum(inside[: n * (n - 1)]), sum(inside[n * (n - 1) :])
        want = first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * kernel[np.ix_(a, b)].mean()
        assert got == pytest.approx(want, abs=1e-12)


def test_equal_domains_are_called_different_no_more_often_than_the_level() -> None:
    rng = np.random.default_rng(0)
    found = [
        ds.separation(rng.normal(size=(80, 5)), np.arange(80) < 30, rng.integers(0, 4, 80), rng) for _ in range(150)
    ]
    for name in ("auc_p", "mmd_p"):
        p = np.array([getattr(f, name) for f in found if f is not None])
        assert len(p) == 150
        assert np.mean(p <= 0.05) < 0.12  # binomial(150, 0.05): 0.12 is 4 standard errors
        assert 0.4 < p.mean() < 0.6


def test_a_shift_is_found() -> None:
    x = rows(200, 20)
    x[:100] += 0.8
    found = ds.separation(x, np.arange(200) < 100, np.full(200, -1), np.random.default_rng(0))
    assert found is not None
    assert found.auc > 0.9 and found.auc_p == 0.005 and found.error < 0.2 and found.mmd > 0.01 and found.mmd_p == 0.005


def test_groups_that_only_differ_in_their_classes_are_not_told_apart() -> None:
    rng = np.random.default_rng(0)
    group = np.arange(300) < 150
    classes = np.where(rng.random(300) < np.where(group, 0.8, 0.2), 1, 0)
    x = rng.normal(size=(300, 8))
    x[:, 0] += 3 * classes
    naive = ds.separation(x, group, np.full(300, -1), np.random.default_rng(0))
    fair = ds.separation(x, group, classes.astype(np.int64), np.random.default_rng(0))
    assert naive is not None and fair is not None
    assert naive.auc > 0.7 and naive.auc_p == 0.005
    assert fair.auc_p > 0.02 and fair.auc < 0.62


def test_classes_of_one_group_only_are_left_out_and_few_rows_say_nothing() -> None:
    x, group = rows(), np.arange(80) < 40
    assert ds.separation(x, group, group.astype(np.int64), np.random.default_rng(0)) is None
    assert ds.separation(x, np.arange(80) < 19, NONE, np.random.default_rng(0)) is None


def test_constant_and_non_finite_features() -> None:
    x, group = np.ones((80, 4)), np.arange(80) < 40
    found = ds.separation(x, group, NONE, np.random.default_rng(0))
    assert found is not None and (found.auc, found.auc_p) == (0.5, 1.0)
    x = rows()
    x[0] = np.nan
    assert ds.separation(x, group, NONE, np.random.default_rng(0)) is not None


def test_it_is_the_same_every_time() -> None:
    one, two = (ds.separation(rows(), np.arange(80) < 40, NONE, np.random.default_rng(5)) for _ in range(2))
    assert one == two
