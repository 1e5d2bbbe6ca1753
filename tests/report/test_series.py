"""Thinning a scalar signal: nothing high or low may be lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_diag.report.series import Floats, Series, level, minmax

FINITE = st.floats(-1e6, 1e6)


@given(arrays(np.float64, st.integers(1, 400), elements=FINITE), st.integers(1, 40))
def test_minmax_keeps_the_extremes_of_every_bucket_and_both_ends(values: Floats, buckets: int) -> None:
    steps = np.arange(len(values), dtype=float)
    kept_steps, kept = minmax(steps, values, buckets)
    assert len(kept) <= 2 * buckets + 2
    assert (kept_steps[0], kept_steps[-1]) == (steps[0], steps[-1])
    assert (kept.min(), kept.max()) == (values.min(), values.max())
    assert np.array_equal(values[kept_steps.astype(int)], kept)
    if len(kept) < len(values):
        bucket = np.minimum((steps / steps[-1] * buckets).astype(int), buckets - 1)
        for b in np.unique(bucket):
            inside = np.isin(kept_steps, steps[bucket == b])
            assert kept[inside].max() == values[bucket == b].max()
            assert kept[inside].min() == values[bucket == b].min()


def test_a_series_is_bounded_and_keeps_its_spikes() -> None:
    series = Series(kept=1000)
    for step in range(20_000):
        series.add(step, 50.0 if step == 777 else -50.0 if step == 15_001 else float(np.sin(step)))
    assert len(series) <= 1000
    assert series.thinned
    assert series.steps[series.values.argmax()] == 777
    assert series.steps[series.values.argmin()] == 15_001
    assert (np.diff(series.steps) > 0).all()


def test_what_is_not_finite_stands_apart_as_ranges() -> None:
    series = Series()
    for step, value in enumerate([1.0, np.nan, np.inf, 2.0, -np.inf]):
        series.add(step, value)
    assert series.bad == [[1, 2], [4, 4]]
    assert series.values.tolist() == [1.0, 2.0]


def test_a_step_back_is_left_out() -> None:
    series = Series()
    for step in (1, 5, 3, 6):
        series.add(step, float(step))
    assert series.steps.tolist() == [1.0, 5.0, 6.0]


def test_level_is_the_median_around_each_point() -> None:
    steps, values = np.arange(50.0), np.arange(50.0)
    at, median = level(steps, values, 5)
    assert np.array_equal(at, median)
    assert level(steps[:3], values[:3], 5)[0].size == 0
