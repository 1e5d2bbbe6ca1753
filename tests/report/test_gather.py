"""One pass over the readings."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightning_diag.reading import Facts, Reading
from lightning_diag.report.gather import MAX_ROWS, MAX_SIGNALS, gather


def read(step: int, epoch: int, **values: Any) -> Reading:
    return Reading(step, epoch, {name.replace("__", "/"): value for name, value in values.items()})


def test_scalars_arrays_and_matrices_go_to_their_homes() -> None:
    confusion = np.eye(2)
    got = gather(
        [read(1, 0, loss__train=2.0, lr=np.array([0.1])), read(9, 3, class__confusion=confusion, run__ended=1.0)],
        Facts(),
    )
    assert set(got.series) == {"loss/train"}
    assert set(got.grids) == {"lr"}
    assert got.matrices["class/confusion"][0] == 9
    assert (got.first_step, got.last_step, got.readings, got.ended) == (1, 9, 2, True)
    assert got.epochs == [(0, 1), (3, 9)]
    assert [got.epoch_of(step) for step in (0, 1, 8, 9)] == [None, 0, 0, 3]


def test_names_are_filled_with_numbers_and_cut_to_the_rows() -> None:
    facts = Facts(names={"group": ("decay", "none", "third")})
    got = gather([read(1, 0, lr=np.zeros(2))], facts)
    assert got.names("lr") == ("decay", "none")
    got = gather([read(1, 0, lr=np.zeros(4))], facts)
    assert got.names("lr") == ("decay", "none", "third", "3")
    assert got.names("nowhere") == ()
    assert got.names_along("domain", 2) == ("domain 0", "domain 1")


def test_names_known_only_by_the_readings_are_taken() -> None:
    reading = Reading(1, 0, {"lr": np.zeros(1)}, Facts(names={"group": ("a",)}))
    assert gather([reading], Facts()).names("lr") == ("a",)


def test_a_record_made_up_to_hurt_stays_bounded() -> None:
    many = {f"mine/{i}": 1.0 for i in range(2 * MAX_SIGNALS)} | {"lr": np.zeros(2 * MAX_ROWS)}
    got = gather([Reading(1, 0, {"lr": many.pop("lr"), **many})], Facts())
    assert len(got.series) + len(got.grids) == MAX_SIGNALS
    assert got.grids["lr"].rows == MAX_ROWS
    assert got.cut == {"lr"}


def test_nothing_read_is_a_state() -> None:
    got = gather([], Facts())
    assert (got.first_step, got.last_step, got.epochs) == (None, 0, [])
