from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.detectors._growth import Growth


@given(st.lists(st.integers(1, 40), min_size=2, max_size=40), st.integers(0, 2**32 - 1))
def test_equals_numpy_interpolation_over_all_samples(gaps: list[int], seed: int) -> None:
    steps = np.cumsum(gaps)
    weights = np.random.default_rng(seed).lognormal(0, 1, (len(steps), 3))
    growth = Growth(30)
    for i, step in enumerate(steps):
        made = growth.see(int(step), weights[i])
        for j in range(3):
            before = np.interp(max(step - 30, steps[0]), steps[: i + 1], np.log10(weights[: i + 1, j]))
            assert made[j] == pytest.approx(np.log10(weights[i, j]) - before, abs=1e-9)
    assert len(growth.steps) <= 32


def test_zero_and_non_finite_weights_are_nan_and_only_they() -> None:
    growth = Growth(30)
    growth.see(1, np.array([0.0, np.inf, 1.0]))
    assert np.isnan(growth.see(2, np.array([1.0, 1.0, 10.0]))).tolist() == [True, True, False]


def test_only_growth_above_the_floor_counts() -> None:
    growth = Growth(30)
    growth.see(1, np.array([0.1, 0.1, 10.0]))
    made = growth.see(2, np.array([0.5, 100.0, 100.0]), floor=np.array([1.0, 1.0, 1.0]))
    assert made.round(2).tolist() == [-0.3, 2.0, 1.0]


def test_starts_anew_when_time_goes_back_or_the_model_changes() -> None:
    growth = Growth(30)
    growth.see(1, np.ones(2))
    assert growth.see(2, np.ones(3) * 5).tolist() == [0, 0, 0]
    assert growth.see(1, np.ones(3) * 50).tolist() == [0, 0, 0]


def test_resumes() -> None:
    growth, copy = Growth(30), Growth(30)
    for step in range(1, 50):
        growth.see(step, np.array([1.1**step]))
    copy.load_state_dict(json.loads(json.dumps(growth.state_dict())))
    assert copy.see(50, np.array([7.0])) == growth.see(50, np.array([7.0]))
