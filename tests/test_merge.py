from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_diag._ranks.merge import Landed, merged


def part(step: int = 1, *, sharded: bool = False, learned: dict[str, object] | None = None, **values: object) -> Landed:
    named = {name.replace("__", "/"): np.asarray(value, dtype=np.float64) for name, value in values.items()}
    return Landed(step, 0, 0, "train", named, learned or {}, sharded)


def test_means_sums_and_what_is_the_same() -> None:
    whole = merged(
        {
            0: part(loss__train=1.0, class__support=[1, 2], lr=[0.1]),
            1: part(loss__train=2.0, class__support=[3, 0], lr=[0.1]),
        },
        (0, 1),
    )
    assert whole.values["loss/train"] == 1.5
    assert whole.values["class/support"].tolist() == [4.0, 2.0]
    assert whole.values["lr"].tolist() == [np.float64(np.float32(0.1))]
    assert whole.values["rank/loss"].tolist() == [1.0, 2.0]


def test_norms_of_shards_add_up_in_squares_and_need_every_process() -> None:
    ranks = {0: part(sharded=True, grad__norm=3.0), 1: part(sharded=True, grad__norm=4.0)}
    assert merged(ranks, (0, 1)).values["grad/norm"] == 5.0
    assert "grad/norm" not in merged({0: ranks[0]}, (0, 1)).values
    assert merged({0: part(grad__norm=3.0), 1: part(grad__norm=4.0)}, (0, 1)).values["grad/norm"] == 3.0


def test_ratios_and_clipping_of_shards_are_made_of_the_whole() -> None:
    shard: dict[str, Any] = {
        "grad__norm": 3.0,
        "grad__norm_after_clip": 1.0,
        "update__parameter_norm": [1.0],
        "weight__parameter_norm": [2.0],
    }
    empty: dict[str, Any] = {
        "grad__norm": 0.0,
        "grad__norm_after_clip": 0.0,
        "update__parameter_norm": [0.0],
        "weight__parameter_norm": [0.0],
    }
    whole = merged({0: part(sharded=True, **shard), 1: part(sharded=True, **empty)}, (0, 1)).values
    assert whole["update/parameter_ratio"].tolist() == [0.5]
    assert whole["grad/clipped"] == 1.0


def test_a_process_without_a_signal_does_not_count() -> None:
    assert merged({0: part(lr=[0.1]), 1: part(loss__train=2.0)}, (0, 1)).values["loss/train"] == 2.0
    assert merged({1: part(step=7, loss__train=2.0)}, (0, 1)).step == 7


def test_shapes_that_differ_are_left_out() -> None:
    values = merged({0: part(class__support=[1, 2]), 1: part(class__support=[1, 2, 3])}, (0, 1)).values
    assert values == {}


def test_a_mean_over_samples_is_weighed_by_them() -> None:
    ranks = {0: part(accuracy__val=1.0, val__samples=30), 1: part(accuracy__val=0.5, val__samples=10)}
    assert merged(ranks, (0, 1)).values["accuracy/val"] == pytest.approx(0.875)
    none = {0: part(accuracy__val=1.0, val__samples=30), 1: part(accuracy__val=np.nan, val__samples=0)}
    assert merged(none, (0, 1)).values["accuracy/val"] == 1.0


def test_a_loss_that_is_not_finite_on_one_rank_stays_so_but_a_module_that_ran_elsewhere_counts() -> None:
    assert np.isnan(merged({0: part(loss__train=1.0), 1: part(loss__train=np.nan)}, (0, 1)).values["loss/train"])
    ranks = {0: part(activation__mean=[1.0, np.nan]), 1: part(activation__mean=[np.nan, np.nan])}
    assert merged(ranks, (0, 1)).values["activation/mean"].tolist() == [1.0, pytest.approx(np.nan, nan_ok=True)]


def test_ranks_that_train_on_the_same_data_count_once() -> None:
    ranks = {r: part(loss__train=float(r), class__support=[1.0]) for r in range(4)}
    whole = merged(ranks, (0, 0, 1, 1)).values
    assert whole["loss/train"] == 1.0 and whole["class/support"].tolist() == [2.0]


def test_what_one_rank_learned_all_hear() -> None:
    ranks = {
        0: part(loss__train=1.0, learned={"planned_steps": 10, "names": {"class": ("a",)}}),
        1: part(
            loss__train=1.0, learned={"planned_steps": 9, "names": {"input": ("x",)}, "unmeasured": {"lr": "broke"}}
        ),
    }
    assert merged(ranks, (0, 1)).learned == {
        "planned_steps": 10,
        "names": {"class": ("a",), "input": ("x",)},
        "unmeasured": {"lr": "rank 1: broke"},
    }
