"""Heat maps: one byte a cell, and what matters survives it."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from lightning_diag.report.grid import Grid
from lightning_diag.report.heat import FIRST_LEVEL, LEVELS, NOT_FINITE, UNMEASURED, ZERO, Heat, heat
from lightning_diag.report.series import Floats


def made(data: Floats, cells: int = 10_000, share: bool = False, nan_is_missing: bool = False) -> Heat:
    """Heat map of data (T, R), one array a step."""
    grid = Grid(nan_is_missing)
    for step, row in enumerate(data, 1):
        grid.add(step, row)
    names = [f"row{i}" for i in range(data.shape[1])]
    return heat("t", "parameter", names, "", grid.columns(), cells, share)


def decoded(one: Heat) -> Floats:
    share = (one.codes.astype(float) - FIRST_LEVEL) / LEVELS
    return one.low * (one.high / one.low) ** share if one.log else one.low + share * (one.high - one.low)


@pytest.mark.parametrize("log", [True, False])
def test_values_come_back_within_half_a_level(log: bool) -> None:
    rng = np.random.default_rng(0)
    data = 10 ** rng.uniform(-4, 0, (30, 5)) if log else rng.uniform(1, 3, (30, 5))
    one = made(data)
    assert one.log is log
    error = np.abs(np.log(decoded(one) / data.T)) if log else np.abs(decoded(one) - data.T)
    width = np.log(one.high / one.low) if log else one.high - one.low
    assert error.max() <= 0.51 * width / LEVELS


def test_a_spike_and_a_collapse_survive_thinning() -> None:
    data = np.ones((2000, 2))
    data[777, 0], data[1234, 1] = 1e4, 1e-6
    one = made(data, cells=100)
    assert one.codes.shape[1] <= 64
    assert one.codes[0].max() == FIRST_LEVEL + LEVELS
    assert one.codes[1].min() == FIRST_LEVEL
    assert "1e4 (row0" in one.caption.replace("10,000", "1e4")
    assert "1e-6 (row1" in one.caption


def test_what_is_no_level_has_its_own_code() -> None:
    data = np.array([[1e-5, 0.0, np.nan, 1.0], [1.0, 1e-3, 2.0, 1e-2]])
    one = made(data)
    assert one.codes[1, 0] == ZERO
    assert one.codes[2, 0] == NOT_FINITE
    assert "Not finite first at step 1: row2." in one.caption
    assert made(data, nan_is_missing=True).codes[2, 0] == UNMEASURED


def test_rows_without_a_value_are_left_out() -> None:
    data = np.array([[np.nan, 1.0, np.nan], [np.nan, 2.0, 3.0]])
    one = made(data, nan_is_missing=True)
    assert one.index.tolist() == [1, 2]
    assert one.codes.shape[0] == 2


def test_shares_stand_on_a_whole_scale() -> None:
    one = made(np.array([[0.1, 0.2], [0.3, 1e-9]]), share=True)
    assert (one.low, one.high, one.log) == (0.0, 1.0, False)


@pytest.mark.parametrize(
    "data",
    [
        np.full((3, 2), np.nan),
        np.zeros((3, 2)),
        np.full((3, 2), 7.0),
        np.array([[-1.7e308, 1.7e308]]),
        np.array([[5e-324, 1.7e308]]),
        np.full((2, 2), np.inf),
    ],
)
def test_extremes_are_drawn_without_a_warning(data: Floats) -> None:
    one = made(data)
    json.dumps({**one.to_json(), "id": "x"}, allow_nan=False)
    assert len(base64.b64decode(one.to_json()["codes"])) == one.codes.size


def test_the_number_of_cells_is_bounded() -> None:
    assert made(np.random.default_rng(0).random((900, 40)), cells=4000).codes.size <= 4000
