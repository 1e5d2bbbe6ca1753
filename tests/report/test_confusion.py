"""Confused pairs."""

from __future__ import annotations

import numpy as np

from lightning_diag.reading import Facts, Reading
from lightning_diag.report.confusion import PAIRS, confused_pairs
from lightning_diag.report.gather import Gathered, gather


def measured(counts: object, *names: str) -> Gathered:
    return gather([Reading(40, 1, {"class/confusion": np.array(counts, dtype=float)})], Facts(names={"class": names}))


def test_pairs_stand_by_share_of_the_true_class() -> None:
    (table,) = confused_pairs(measured([[90, 10, 0], [0, 1, 3], [1, 0, 999]], "cat", "dog", "bird"))
    assert table.caption == "Confused most at step 40"
    assert table.rows == [["dog", "bird", "75 %", "3 of 4"], ["cat", "dog", "10 %", "10 of 100"]]


def test_classes_without_names_are_called_as_findings_call_them() -> None:
    (table,) = confused_pairs(measured([[5, 5], [0, 9]], "of", "something", "else"))
    assert table.rows[0][:2] == ["class 0", "class 1"]


def test_no_confusion_is_no_table() -> None:
    assert confused_pairs(Gathered()) == []
    assert confused_pairs(measured(np.diag([3, 4]))) == []
    assert confused_pairs(measured(np.zeros((2, 2)))) == []
    assert confused_pairs(measured(np.ones((2, 3)))) == []
    assert confused_pairs(measured(np.full((2, 2), np.nan))) == []


def test_many_pairs_are_cut() -> None:
    (table,) = confused_pairs(measured(np.full((20, 20), 5)))
    assert len(table.rows) == PAIRS
