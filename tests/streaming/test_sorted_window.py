from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.streaming import SortedWindow

NUMBERS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60)


@given(NUMBERS, st.integers(1, 12), st.floats(0, 1))
def test_median_and_quantile_equal_numpy_at_every_prefix(numbers: list[float], length: int, q: float) -> None:
    window = SortedWindow(length)
    for n, number in enumerate(numbers, 1):
        window.push(number)
        last = np.array(numbers[:n][-length:])
        assert len(window) == len(last) and window.full is (n >= length)
        assert window.median() == pytest.approx(np.median(last), rel=1e-12, abs=1e-300)
        assert window.quantile(q) == pytest.approx(np.quantile(last, q), rel=1e-9, abs=1e-6)
        assert window.sorted == sorted(window.queue) and list(window.queue) == last.tolist()


@given(NUMBERS, st.integers(1, 12), st.integers(0, 60))
def test_state_goes_through_json_at_any_point(numbers: list[float], length: int, cut: int) -> None:
    whole, first, second = SortedWindow(length), SortedWindow(length), SortedWindow(length)
    for number in numbers[:cut]:
        first.push(number)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for number in numbers:
        whole.push(number)
    for number in numbers[cut:]:
        second.push(number)
    assert second.state_dict() == whole.state_dict() and second.sorted == whole.sorted


def test_equal_numbers_leave_one_at_a_time() -> None:
    window = SortedWindow(3)
    for number in (2.0, 2.0, 2.0, 1.0):
        window.push(number)
    assert window.sorted == [1.0, 2.0, 2.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    window = SortedWindow(3)
    with pytest.raises(ValueError, match="finite"):
        window.push(bad)
    assert len(window) == 0


def test_empty_and_cleared_windows_have_no_median() -> None:
    window = SortedWindow(3)
    assert np.isnan(window.median()) and np.isnan(window.quantile(0.5))
    window.push(1.0)
    window.clear()
    assert np.isnan(window.median()) and len(window) == 0 and not window.full


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        SortedWindow(0)
