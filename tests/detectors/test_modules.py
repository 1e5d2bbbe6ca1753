from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors._modules import arrays, called, first_called, named
from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Facts, Reading


def make(**values: object) -> Reading:
    return Reading(
        1, 0, {f"activation/{k}": np.asarray(v, float) for k, v in values.items()}, Facts(names={"module": ("a",)})
    )


def test_modules_come_in_the_order_of_their_calls_and_the_uncalled_last() -> None:
    nan = float("nan")
    reading = make(call_order=(2, nan, 0, 1))
    assert first_called(reading, np.array([True] * 4)) == [2, 3, 0, 1]
    assert first_called(reading, np.array([True, False, False, True])) == [3, 0]
    assert called(make(), 3).tolist() == [0, 1, 2]
    assert called(make(call_order=(1, 0)), 3).tolist() == [0, 1, 2], "of another length: not believed"


def test_names_are_given_where_there_are_any() -> None:
    assert named(make(), [0, 1]) == ("a", "module 1")
    assert len(named(make(), range(50))) == 8


def test_arrays_of_unequal_length_are_refused() -> None:
    with pytest.raises(NotMeasurable, match="another length"):
        arrays(make(mean=(1, 2), std=(1, 2, 3)), "activation/mean", "activation/std")
    with pytest.raises(NotMeasurable, match="nowhere measured"):
        arrays(make(), "activation/mean")
