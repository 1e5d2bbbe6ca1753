"""Faults of one process among two are found on every rank, and the process is named; a healthy run is silent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.processes.running import Run, run

CASES = ("healthy", "tampered", "same_data", "late", "heavy", "not_a_number")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    return run(tmp_path_factory.mktemp("faults"), *CASES, limit_s=100)


def found(runs: dict[str, Run], case: str) -> dict[str, dict[str, Any]]:
    """Rule -> finding of the group ``system/``, which is the same on both ranks."""
    ranks = runs[case]
    assert ranks[0]["findings"] == ranks[1]["findings"] and ranks[0]["verdict"] == ranks[1]["verdict"]
    return {f["rule"]: f for f in ranks[0]["findings"] if f["rule"].startswith("system/")}


def test_a_healthy_run_is_silent_and_every_rule_was_judged(runs: dict[str, Run]) -> None:
    assert found(runs, "healthy") == {}
    assert {f"system/{name}" for name in ("input-bound", "rank-divergence", "same-data-on-ranks", "straggler")} <= {
        *runs["healthy"][0]["ran"]
    }


def test_weights_that_one_process_changed(runs: dict[str, Run]) -> None:
    finding = found(runs, "tampered")["system/rank-divergence"]
    assert finding["severity"] == "critical" and finding["where"] == ["rank 1"]
    assert finding["first_step"] == 25  # the next comparison after step 20
    assert runs["tampered"][0]["verdict"].startswith("CRITICAL: the processes don't train one model")


def test_the_same_batches_on_both(runs: dict[str, Run]) -> None:
    finding = found(runs, "same_data")["system/same-data-on-ranks"]
    assert finding["severity"] == "warning" and finding["where"] == ["rank 0", "rank 1"] and finding["first_step"] <= 20


@pytest.mark.parametrize(("case", "cause"), [("late", "input"), ("heavy", "compute")])
def test_a_process_that_keeps_the_other_waiting(runs: dict[str, Run], case: str, cause: str) -> None:
    finding = found(runs, case)["system/straggler"]
    assert finding["severity"] == "warning" and finding["where"] == ["rank 1"]
    assert finding["evidence"]["cause"] == cause and 0.01 < finding["evidence"]["delay_s"] < 0.04


def test_a_loss_that_is_not_a_number_on_one(runs: dict[str, Run]) -> None:
    finding = found(runs, "not_a_number")["system/rank-divergence"]
    assert finding["where"] == ["rank 1"] and finding["first_step"] == 12
    assert runs["not_a_number"][0]["verdict"].startswith("CRITICAL: a value stopped being finite")
