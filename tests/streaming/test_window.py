from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightning_diag.streaming import Window

ROWS = st.lists(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=3, max_size=3), min_size=1, max_size=20)


def reference(rows: NDArray[np.float64]) -> list[float]:
    """Median per element without its NaNs, NaN where there are only those."""
    columns = [column[~np.isnan(column)] for column in rows.T]
    return [float(np.median(column)) if column.size else float("nan") for column in columns]


@given(ROWS, st.integers(1, 8))
def test_median_rows_and_steps_equal_numpy_at_every_prefix(rows: list[list[float]], length: int) -> None:
    window = Window(length)
    for n, row in enumerate(rows, 1):
        window.push(10 * n, row)
        last = np.array(rows[:n][-length:])
        assert window.steps == [10 * i for i in range(1, n + 1)][-length:]
        assert len(window) == len(last) and window.full is (n >= length)
        np.testing.assert_array_equal(window.array(), last)
        np.testing.assert_allclose(window.median(), reference(last), rtol=1e-12)


@given(ROWS, st.integers(1, 8), st.integers(0, 20))
def test_state_goes_through_json_at_any_point(rows: list[list[float]], length: int, cut: int) -> None:
    whole, first, second = Window(length), Window(length), Window(length)
    for step, row in enumerate(rows):
        whole.push(step, row)
        if step < cut:
            first.push(step, row)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for step, row in list(enumerate(rows))[cut:]:
        second.push(step, row)
    np.testing.assert_array_equal(second.array(), whole.array())
    assert second.steps == whole.steps


def test_another_shape_empties_it() -> None:
    window = Window(4)
    window.push(1, [1.0, 2.0])
    window.push(2, [1.0, 2.0, 3.0])
    assert window.steps == [2] and window.array().shape == (1, 3)


def test_rows_are_copied() -> None:
    window, row = Window(2), np.array([1.0])
    window.push(1, row)
    row[0] = 9.0
    assert window.median().tolist() == [1.0]


def test_empty_and_cleared_windows() -> None:
    window = Window(2)
    assert window.median().shape == window.array().shape == (0,)
    window.push(1, [1.0])
    window.clear()
    assert len(window) == 0 and window.steps == []


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Window(0)
