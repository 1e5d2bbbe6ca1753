from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lightning_diag.errors import ConfigurationError
from lightning_diag.reading import Reading
from lightning_diag.signals import SIGNALS, logged_keys
from lightning_diag.sinks._metrics import RowLimit, metrics


def test_a_reading_with_everything_gives_exactly_the_keys_of_the_table() -> None:
    values = {name: np.float64(1.0) if s.axis is None else np.ones(3) for name, s in SIGNALS.items()}
    row = metrics(Reading(1, 0, values))
    assert set(row) == set(logged_keys())
    assert all(type(value) is float for value in row.values())


@given(hnp.arrays(np.float64, st.integers(1, 20)))
@example(np.array([1.7e308, 1.7e308]))
def test_statistics_are_numpys_over_the_finite_elements(array: NDArray[np.float64]) -> None:
    row = metrics(Reading(1, 0, {"grad/parameter_norm": array}))
    finite = array[np.isfinite(array)]
    for statistic in ("min", "median", "max"):
        value = row[f"diag/grad/parameter_norm/{statistic}"]
        with np.errstate(over="ignore"):
            assert value == getattr(np, statistic)(finite) if len(finite) else math.isnan(value)


def test_non_finite_scalars_leave_as_they_are() -> None:
    row = metrics(Reading(1, 0, {"loss/train": np.float64(np.nan), "grad/norm": np.float64(np.inf)}))
    assert math.isnan(row["diag/loss/train"])
    assert row["diag/grad/norm"] == math.inf


def test_what_the_table_does_not_log_does_not_leave() -> None:
    values = {"mine/own": np.float64(1), "grad/missing": np.ones(2), "lr": np.array([]), "grad/norm": np.ones(2)}
    assert metrics(Reading(1, 0, values)) == {}


def loss(step: int, stage: str = "train") -> Reading:
    return Reading(step, 0, {"loss/train": 1.0, "loss/level": 1.0}, stage=stage)


def sampled(step: int) -> Reading:
    return Reading(step, 0, {"loss/train": 1.0, "grad/norm": 1.0})


def test_sampled_readings_always_get_a_row() -> None:
    limit = RowLimit(10, 1000)
    assert [s for s in range(1, 8) if limit.admits(sampled(s))] == [1, 2, 3, 4, 5, 6, 7]


def test_losses_are_spaced_from_the_last_row_of_any_kind() -> None:
    limit = RowLimit(10, 1000)
    rows = [s for s in range(1, 31) if limit.admits(sampled(s) if s == 5 else loss(s))]
    assert rows == [1, 5, 15, 25]


def test_validation_and_the_end_get_their_own_rows() -> None:
    limit = RowLimit(10, 1000)
    assert limit.admits(loss(3))
    assert limit.admits(loss(3, "validation"))
    assert limit.admits(loss(3, "end"))
    assert not limit.admits(loss(4))


def test_steps_that_start_again_get_rows() -> None:
    limit = RowLimit(10, 1000)
    assert limit.admits(loss(500))
    assert limit.admits(loss(1))
    assert not limit.admits(loss(2))


def test_rows_grow_with_the_logarithm_of_the_length() -> None:
    limit = RowLimit(10, 100)
    rows = [s for s in range(1, 100_001) if limit.admits(sampled(s))]
    assert len(rows) < 50 * (1 + math.log2(100_000 / 50 + 1)) + 1
    assert rows[:50] == list(range(1, 51))
    assert rows[-1] > 90_000, "it never falls silent"


@pytest.mark.parametrize(("steps", "rows"), [(0, 100), (10, 1)])
def test_arguments_are_checked(steps: int, rows: int) -> None:
    with pytest.raises(ConfigurationError, match="at least"):
        RowLimit(steps, rows)
