"""Thinning an array signal: lowest, highest and non-finite values of each row survive."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.report.grid import Grid, narrow


@given(st.integers(1, 120), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_columns_keep_extremes_and_cover_the_steps(count: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((count, 3))
    data[rng.random((count, 3)) < 0.1] = np.nan
    grid = Grid(columns=columns)
    for step, row in enumerate(data):
        grid.add(3 * step, row)
    for made in (grid.columns(), narrow(grid.columns(), 3)):
        assert (made.first[0], made.last[-1]) == (0, 3 * (count - 1))
        assert (made.first[1:] > made.last[:-1]).all()
        for row in range(3):
            known = data[:, row][np.isfinite(data[:, row])]
            if len(known):
                assert np.nanmin(made.low[:, row]) == known.min()
                assert np.nanmax(made.high[:, row]) == known.max()
            assert made.bad[:, row].any() == np.isnan(data[:, row]).any()
    assert len(grid) <= columns + columns % 2
    assert len(narrow(grid.columns(), 3).first) <= 3


def test_nan_can_say_that_a_row_has_no_number_but_infinity_is_bad() -> None:
    grid = Grid(nan_is_missing=True)
    grid.add(1, np.array([np.nan, np.inf, 1.0]))
    assert grid.columns().bad.tolist() == [[False, True, False]]


def test_rows_may_grow_and_steps_may_not_go_back() -> None:
    grid = Grid(columns=2)
    for step, size in ((1, 1), (2, 3), (1, 3), (3, 2), (4, 3)):
        grid.add(step, np.full(size, float(step)))
    made = grid.columns()
    assert made.first.tolist() == [1.0, 3.0]
    assert made.high.tolist() == [[2.0, 2.0, 2.0], [4.0, 4.0, 4.0]]
