from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_diag.streaming import LossTrace, trend
from lightning_diag.streaming.loss_trace import BUCKETS

LOSSES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=1200)


@settings(max_examples=40)
@given(LOSSES)
def test_means_equal_numpy_at_every_prefix(losses: list[float]) -> None:
    trace = LossTrace()
    for n, loss in enumerate(losses, 1):
        trace.push(loss)
        assert len(trace) == n and len(trace.means) < BUCKETS
        if n % 97 == 0 or n in (BUCKETS - 1, BUCKETS, BUCKETS + 1, len(losses)):
            whole = n // trace.width
            expected = np.array(losses[: whole * trace.width]).reshape(whole, trace.width).mean(axis=1)
            np.testing.assert_allclose(trace.means, expected, rtol=1e-9, atol=1e-6)
    assert trace.width == 1 or len(trace.means) >= BUCKETS // 2


@settings(max_examples=30)
@given(LOSSES, st.integers(0, 1200), st.integers(1, 400))
def test_state_best_and_tail(losses: list[float], cut: int, steps: int) -> None:
    whole, first, second = LossTrace(), LossTrace(), LossTrace()
    for i, loss in enumerate(losses):
        whole.push(loss)
        if i < cut:
            first.push(loss)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for loss in losses[cut:]:
        second.push(loss)
    assert second.state_dict() == whole.state_dict()
    k = math.ceil(steps / whole.width)
    means = np.array(whole.means)
    np.testing.assert_array_equal(whole.tail(steps), means[-k:])
    if k > len(means):
        assert math.isnan(whole.best(steps))
    else:
        sums = [means[i : i + k].mean() for i in range(len(means) - k + 1)]
        assert whole.best(steps) == pytest.approx(min(sums), rel=1e-9, abs=1e-6)


def test_the_line_equals_polyfit_where_nothing_is_outlying() -> None:
    y = 3 - 0.01 * np.arange(100) + 0.1 * np.random.default_rng(0).uniform(-1, 1, 100)
    line, (slope, _) = trend(y, width=5), np.polyfit(np.arange(100), y, 1)
    assert line.change == pytest.approx(100 * slope) and line.steps == 500
    assert line.mean == pytest.approx(y.mean()) and line.t == line.change / line.se < -10


def test_the_errors_are_those_of_simulation() -> None:
    """On white noise t is standard normal and the mean's error is its standard deviation."""
    rng = np.random.default_rng(0)
    lines = [trend(rng.standard_normal(60)) for _ in range(2000)]
    t = np.array([line.t for line in lines])
    assert abs(t.mean()) < 0.1 and 0.9 < t.std() < 1.15
    means = np.array([line.mean / line.error for line in lines])
    assert 0.9 < means.std() < 1.1


def test_autocorrelation_widens_the_error() -> None:
    rng = np.random.default_rng(0)
    t = []
    for _ in range(500):
        noise = np.convolve(rng.standard_normal(120), np.ones(8) / 8, "valid")
        t.append(trend(noise).t)
    assert np.std(t) < 2.2  # 2.7 without it


def test_one_spike_moves_neither_level_nor_slope() -> None:
    y = 1 - 0.001 * np.arange(200) + 0.01 * np.random.default_rng(0).standard_normal(200)
    clean = trend(y)
    y[150] = 1e5
    line = trend(y)
    assert line.level == pytest.approx(clean.level, abs=0.03) and line.change == pytest.approx(clean.change, abs=0.01)
    assert line.mean > 100  # the plain mean knows of it


def test_constant_short_and_empty() -> None:
    assert trend(np.full(20, 2.0)).t == 0.0 and trend(np.full(20, 2.0)).level == 2.0
    short = trend(np.arange(7.0))
    assert short.se == short.error == math.inf and short.t == 0.0 and short.mean == 3.0
    assert trend(np.zeros(0)).steps == 0 and math.isnan(trend(np.zeros(0)).level)
    assert abs(trend(np.arange(20.0)).t) > 1e6
