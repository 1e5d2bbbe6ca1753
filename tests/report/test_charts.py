"""Line charts as plain data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lightning_diag.report.charts import Chart, Line, cut_at, wants_log
from lightning_diag.report.series import Floats


def chart(values: Floats, **more: bool) -> Chart:
    return Chart("t", "", [(np.arange(len(values), dtype=float), [Line("a", values)])], **more)  # type: ignore[arg-type]


def test_json_holds_null_for_what_is_not_finite() -> None:
    data = chart(np.array([1.0, np.nan, np.inf, 1.23456789])).to_json()
    assert data["tables"][0]["lines"][0]["y"] == [1, None, None, 1.2346]
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.geomspace(1e-6, 1.0, 50), True),
        (np.linspace(0.5, 2.3, 50), False),
        (np.r_[-1.0, np.geomspace(1e-6, 1.0, 50)], False),
        (np.r_[0.0, np.geomspace(1e-6, 1.0, 50)], True),
        (np.array([1.0]), False),
        (np.full(5, np.nan), False),
        (np.empty(0), False),
    ],
)
def test_a_log_axis_is_for_positive_values_over_decades(values: Floats, expected: bool) -> None:
    assert wants_log(chart(values)) is expected
    assert not wants_log(chart(values, percent=True))


def test_a_few_high_peaks_cut_the_axis_and_a_slope_does_not() -> None:
    falling = 0.3 + 2 * np.exp(-np.arange(500) / 80)
    assert cut_at(chart(falling)) is None
    spiked = falling.copy()
    spiked[250] = 80.0
    cut = cut_at(chart(spiked))
    assert cut is not None
    assert falling.max() < cut < 10
    assert cut_at(chart(np.full(9, 2.0))) is None
