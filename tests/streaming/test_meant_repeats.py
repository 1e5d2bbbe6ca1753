from __future__ import annotations

import numpy as np

from lightning_diag.streaming.meant_repeats import meant


def reasons(label: list[float], again: list[int]) -> list[bool]:
    times = np.array(again, np.int32)
    return [bool(x) for x in meant(np.array(label, np.float32), times + 1, times, 5.0)]


def test_a_generic_sample_has_a_reason_and_a_copy_has_none() -> None:
    assert reasons([float("nan")] * 10, [0] * 8 + [1, 40]) == [False] * 9 + [True]


def test_an_oversampled_minority_has_a_reason_and_copies_of_the_majority_have_none() -> None:
    assert reasons([0.0] * 10 + [1.0] * 3, [1] + [0] * 9 + [3, 3, 0]) == [False] * 10 + [True] * 3
    assert not any(reasons([0.0] * 6 + [1.0] * 6, [0] * 6 + [1] * 6)), "no minority"
    assert not any(reasons([0.0] * 40 + [1.0] * 10, [0] * 40 + [1] + [0] * 9)), "one copy is no oversampling"


def test_nothing_and_labels_unknown() -> None:
    assert reasons([], []) == []
    assert not any(reasons([float("nan"), -1.0], [1, 1]))
