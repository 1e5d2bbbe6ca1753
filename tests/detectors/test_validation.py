from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.detectors._validation import JITTER, SHORT, Series

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def fed(values: list[float]) -> Series:
    series = Series()
    for step, value in enumerate(values):
        series.push(step, value)
    return series


@given(VALUES)
def test_best_floor_and_jitter_against_numpy_at_every_prefix(values: list[float]) -> None:
    series = Series()
    for n, value in enumerate(values, 1):
        series.push(n, value)
        seen = np.array(values[:n])
        assert (series.best, series.best_step, series.count) == (seen.min(), int(seen.argmin()) + 1, n)
        triples = [median(values[i : i + 3]) for i in range(n - 2)]
        assert series.floor == min(triples, default=math.inf)
        order, raised = (3, 6) if n <= SHORT else (2, 4)
        differences = np.abs(np.diff(seen, order))[-JITTER:]
        m, sd = len(differences), math.sqrt(math.comb(2 * order, order))
        expected = 1.4826 * np.median(differences) / sd * (1 + raised / m) if m >= 3 else math.inf
        assert series.jitter == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_nan_is_not_taken_in() -> None:
    with_nan, without = fed([1.0, math.nan, 0.5, math.inf, 0.7]), fed([1.0, 0.5, 0.7])
    assert with_nan.last == without.last and with_nan.count == 3 and with_nan.best == 0.5


def test_worse_needs_every_one_of_the_last() -> None:
    base = [1.0, 0.8, 0.7, 0.65, 0.62, 0.6, 0.6, 0.6]
    assert fed([*base, 0.9, 0.9, 0.9]).worse(3, 0.1) is not None
    assert fed([*base, 0.9, 0.6, 0.9]).worse(3, 0.1) is None
    assert fed([*base, 0.9, 0.9, 0.9]).worse(3, 0.35) is None
    assert fed([*base, 0.9, 0.9, 0.9]).worse(3, 0.1, noise=0.2) is None


def test_rises_in_a_row_are_enough_in_a_short_series() -> None:
    base = [1.0, 0.8, 0.7, 0.65, 0.62, 0.6, 0.6, 0.6]
    assert fed([*base, 0.64, 0.68, 0.72]).worse(3, 0.1) == pytest.approx(0.7)
    assert fed([*base, 0.64, 0.64, 0.72]).worse(3, 0.1) is None
    assert fed([*base, 0.64, 0.68, 0.72]).worse(3, 0.13) is None
    assert fed([*[0.6] * SHORT, 0.64, 0.68, 0.72]).worse(3, 0.1) is None


def test_a_curve_that_bends_has_no_jitter_in_a_short_series() -> None:
    assert fed([0.1 * i * i for i in range(SHORT)]).jitter == pytest.approx(0.0, abs=1e-9)


def test_one_lucky_value_is_no_floor() -> None:
    values = [1.0, 1.0, 0.2, *[1.0] * 10]
    assert fed(values).worse(3, 0.1) is None and fed(values).best == 0.2
