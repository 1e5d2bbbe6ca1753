from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from lightning_diag.detectors.base import Detector
from lightning_diag.detectors.system_rank_divergence import SystemRankDivergence
from lightning_diag.detectors.system_same_data_on_ranks import SystemSameDataOnRanks
from lightning_diag.detectors.system_straggler import SystemStraggler
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading

R = 4


def watch(rule: Detector, rows: Iterable[dict[str, Any]], **facts: Any) -> list[Finding]:
    found = []
    for i, values in enumerate(rows):
        named = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
        try:
            finding = rule.update(Reading(i + 1, 0, named, Facts(world_size=R, **facts)))
        except NotMeasurable:
            continue
        if finding is not None:
            found.append(finding)
    return found


def marks(n: int = 20, ranks: int = R) -> list[Any]:
    draw = np.random.default_rng(0)
    return [np.tile([float(i), *draw.random(4)], (ranks, 1)) for i in range(n)]


def losses(n: int = 400, sd: float = 0.3, factor: Any = 1.0, ranks: int = R, seed: int = 0) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    level = np.exp(-np.arange(n) / 100)[:, None]
    return [{"rank/loss": row} for row in level * np.exp(sd * draw.standard_normal((n, ranks))) * factor]


# ------------------------------------------------------------------ rank-divergence


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_weights_that_differ_in_one_number_are_critical_and_the_process_is_named(ranks: int) -> None:
    rows = marks(ranks=ranks)
    for row in rows[7:]:
        row[1, 2] += 1e-9
    found = watch(SystemRankDivergence(), [{"rank/weights": row} for row in rows])
    assert found[0].step == 8 and str(found[0].severity) == "critical" and found[0].where == ("rank 1",)
    assert found[-1].first_step == 8 and len(found) == 13


def test_by_hand_processes_may_be_meant_to_train_apart() -> None:
    rows = [{"rank/weights": np.random.default_rng(i).random((R, 5)) * [0, 1, 1, 1, 1]} for i in range(3)]
    found = watch(SystemRankDivergence(), rows, automatic_optimization=False)
    assert {str(f.severity) for f in found} == {"warning"}


def test_fingerprints_of_other_elements_are_not_compared() -> None:
    row = np.random.default_rng(0).random((R, 5))
    row[:, 0] = [1, 1, 2, 1]
    assert watch(SystemRankDivergence(), [{"rank/weights": row}]) == []


def test_equal_weights_and_a_process_that_sent_none_are_silent() -> None:
    rows = marks()
    for row in rows[5:]:
        row[3] = np.nan
    assert watch(SystemRankDivergence(), [{"rank/weights": row} for row in rows]) == []


def test_gradients_that_were_not_reduced_are_critical_unless_weights_are_meant_to_differ() -> None:
    rows = [{"rank/grad_norm": [1.0, 1.0, 1.0 + 2e-6, 1.3]}]
    found = watch(SystemRankDivergence(), rows)
    assert found[0].where == ("rank 3",) and str(found[0].severity) == "critical"
    assert watch(SystemRankDivergence(), rows, unmeasured={"rank/weights": "averaged"}) == []
    assert watch(SystemRankDivergence(), [{"rank/grad_norm": [np.nan, np.inf, np.nan, 1.0]}]) == []


@pytest.mark.parametrize("ranks", [2, 4, 16])
@pytest.mark.parametrize("sd", [0.05, 0.3, 1.0])
def test_losses_of_healthy_processes_are_silent(ranks: int, sd: float) -> None:
    for seed in range(10):
        assert watch(SystemRankDivergence(), losses(600, sd, ranks=ranks, seed=seed)) == []


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_loss_twice_that_of_the_others_is_a_note(ranks: int) -> None:
    factor = np.ones(ranks)
    factor[1] = 2.0
    found = watch(SystemRankDivergence(), losses(factor=factor, ranks=ranks))
    assert found[0].step <= 60 and str(found[0].severity) == "info" and found[0].where == ("rank 1",)


def test_a_loss_that_is_not_finite_on_one_process_is_named_and_on_all_is_not() -> None:
    found = watch(SystemRankDivergence(), [{"rank/loss": [1.0, 1.0, np.nan, 1.0]}])
    assert str(found[0].severity) == "warning" and found[0].where == ("rank 2",)
    assert watch(SystemRankDivergence(), [{"rank/loss": [np.nan] * R}, {"rank/loss": [0.0, -1.0, 1.0, 2.0]}]) == []


# ------------------------------------------------------------------ same-data-on-ranks


def hashes(n: int, same: Iterable[int] = (), *, constant: bool = False) -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for _ in range(n):
        row = draw.integers(0, 2**24, (R, 8)).astype(float)
        for rank in same:
            row[rank] = row[0]
        rows.append({"rank/batch_hash": rows[0]["rank/batch_hash"] if constant and rows else row})
    return rows


def test_two_processes_with_one_part_of_the_data_are_named() -> None:
    found = watch(SystemSameDataOnRanks(), hashes(20, same=[0, 2]))
    assert found[0].step == 11 and found[0].where == ("rank 0", "rank 2") and str(found[0].severity) == "warning"


def test_processes_that_share_their_data_by_design_are_not() -> None:
    assert watch(SystemSameDataOnRanks(), hashes(20, same=[0, 1]), replicas=(0, 0, 1, 1)) == []
    assert watch(SystemSameDataOnRanks(), hashes(20, same=[0, 2]), replicas=(0, 0, 1, 1))


def test_other_data_now_and_then_the_same_and_constant_batches_are_silent() -> None:
    assert watch(SystemSameDataOnRanks(), hashes(50)) == []
    assert watch(SystemSameDataOnRanks(), [*hashes(9, same=[0, 1]), *hashes(30)]) == []
    assert watch(SystemSameDataOnRanks(), hashes(50, same=[0, 1, 2, 3], constant=True)) == []
    none = [{"rank/batch_hash": np.full((R, 8), np.nan)}] * 30
    assert watch(SystemSameDataOnRanks(), none) == []


# ------------------------------------------------------------------ straggler


def times(
    n: int = 60, wait: Any = 0.0, forward: Any = 0.0, batch_s: float = 0.1, seed: int = 0
) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    return [
        {
            "rank/wait_s": 0.001 * draw.exponential(1, R) + wait,
            "rank/forward_s": 0.03 * draw.gamma(20, 1 / 20, R) + forward,
            "time/batch_s": batch_s,
        }
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("wait", "forward", "cause"),
    [([0, 0.05, 0, 0], 0.0, "input"), (0.0, [0, 0.05, 0, 0], "compute"), ([0, 0.03, 0, 0], [0, 0.03, 0, 0], "both")],
)
def test_a_late_process_is_named_with_the_cause(wait: Any, forward: Any, cause: str) -> None:
    found = watch(SystemStraggler(), times(wait=np.array(wait), forward=np.array(forward)))
    assert found[0].step == 20 and found[0].where == ("rank 1",) and str(found[0].severity) == "warning"
    assert found[0].evidence["cause"] == cause


def test_a_little_late_is_a_note() -> None:
    found = watch(SystemStraggler(), times(wait=np.array([0, 0, 0, 0.012])))
    assert found and {str(f.severity) for f in found} == {"info"}


def test_healthy_processes_are_silent() -> None:
    for seed in range(20):
        assert watch(SystemStraggler(), times(200, seed=seed)) == []
    pause = times(100)
    pause[50]["rank/wait_s"] = np.array([0, 0, 30.0, 0])
    assert watch(SystemStraggler(), pause) == []
    turns = [{**row, "rank/wait_s": np.roll([0.05, 0, 0, 0], i)} for i, row in enumerate(times(100))]
    assert watch(SystemStraggler(), turns) == []  # each in its turn: nobody in particular
    assert watch(SystemStraggler(), times(100, wait=np.array([0, np.nan, 0, 0]))) == []


def test_without_forward_times_the_wait_alone_counts() -> None:
    rows = [{k: v for k, v in row.items() if k != "rank/forward_s"} for row in times(wait=np.array([0.05, 0, 0, 0]))]
    assert watch(SystemStraggler(), rows)[0].where == ("rank 0",)


@pytest.mark.parametrize("rule", [SystemRankDivergence(), SystemSameDataOnRanks(), SystemStraggler()])
def test_one_process_has_nobody_to_differ_from(rule: Detector) -> None:
    values = {name: np.ones(1) for name in ("rank/weights", "rank/batch_hash", "rank/wait_s")} | {
        "time/batch_s": np.ones(())
    }
    with pytest.raises(NotMeasurable, match="one process"):
        rule.update(Reading(1, 0, values))
