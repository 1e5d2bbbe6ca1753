from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lightning_diag.streaming.sample_tally import SampleTally

Rows = NDArray[np.float64]


def train(keys: Any, epoch: int = 0) -> Rows:
    keys = np.asarray(keys, dtype=np.float64)
    rest = np.full((len(keys), 6), np.nan)
    rest[:, 0], rest[:, 3] = 1, epoch
    return np.column_stack([keys, np.zeros((len(keys), 2)), rest])


def val(keys: Any, loader: int = 0) -> Rows:
    keys = np.asarray(keys, dtype=np.float64)
    return np.column_stack([keys, np.zeros((len(keys), 2)), np.full(len(keys), loader), np.arange(len(keys))])


def told(tally: SampleTally, **options: bool) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    return tally.tell(**{"replacement": False, "borrowed": False, **options})


def test_leaks_are_counted_and_named_by_place() -> None:
    tally = SampleTally()
    tally.train(train(range(100)))
    tally.validation(val([500, 3, 501, 7]))
    tally.validation(val([500, 3, 501, 7]))  # the second pass is the same
    made, names = told(tally)
    assert made["leaked_frac"] == 0.5 and made["leaked_samples"] == 2
    assert names["leaked"] == ("validation sample 1", "validation sample 3")
    assert "leaked_frac" not in told(tally, borrowed=True)[0]


def test_of_several_loaders_the_worst_counts_and_one_that_is_training_data_does_not() -> None:
    tally = SampleTally()
    tally.train(train(range(100)))
    tally.validation(val(range(50), 0))
    tally.validation(val([500, 501, 502, 9], 1))
    tally.validation(val([600, 601, 602], 2))
    made, names = told(tally)
    assert made["leaked_frac"] == 0.25
    assert names["leaked"] == ("validation sample 3 of loader 1",)


def test_where_positions_mean_nothing_nobody_is_named() -> None:
    tally = SampleTally(positions=False)
    tally.train(train(range(100)))
    tally.validation(val([1, 2]))
    assert told(tally)[1] == {}


def test_repeats_are_left_out_with_replacement() -> None:
    tally = SampleTally()
    tally.train(train([*range(90), *range(10)]))
    assert told(tally)[0]["duplicate_frac"] == pytest.approx(0.1)
    assert "duplicate_frac" not in told(tally, replacement=True)[0]


def test_it_is_due_after_half_as_many_rows_again() -> None:
    tally = SampleTally()
    due = []
    for first in (0, 20_000, 30_000):
        tally.train(train(range(first, first + 20_000)))
        due.append(tally.due)
        told(tally)
    assert due == [True, True, False]


def test_state_goes_round() -> None:
    one, two = SampleTally(), SampleTally()
    one.train(train(range(100)))
    one.validation(val([1, 500]))
    two.load_state_dict(one.state_dict(1000))
    for tally in (one, two):
        tally.train(train(range(50, 150), epoch=1))
    assert told(one) == told(two)
