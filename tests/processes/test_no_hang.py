"""What ends well without us ends well with us, however much the processes differ."""

from __future__ import annotations

import numpy as np
import pytest

from tests.processes.running import Run, run, values

CASES = (
    "uneven_synced", "uneven_train", "uneven_val", "skipping", "stops_alone", "one_raises", "parts_fail", "stop_on",
    "by_budget",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    return run(tmp_path_factory.mktemp("hang"), *CASES, limit_s=90)


def steps(ranks: Run) -> list[tuple[str, int]]:
    return [(ranks[rank]["end"], ranks[rank]["steps"]) for rank in (0, 1)]


def seen(ranks: Run, stage: str = "train") -> list[int]:
    return [step for step, of in values(ranks[0]) if of == stage]


def test_fewer_batches_in_step_validate_at_other_steps(runs: dict[str, Run]) -> None:
    assert steps(runs["uneven_synced"]) == [("fit", 60), ("fit", 60)]
    assert seen(runs["uneven_synced"]) == list(range(1, 61))
    assert seen(runs["uneven_synced"], "validation") == [25, 32, 50]


def test_fewer_batches_out_of_step_end_earlier(runs: dict[str, Run]) -> None:
    assert steps(runs["uneven_train"]) == [("fit", 64), ("fit", 50)]
    assert seen(runs["uneven_train"]) == list(range(1, 65))
    rules = {f["rule"]: f["severity"] for f in runs["uneven_train"][0]["findings"] if f["severity"] != "info"}
    assert rules == {"system/rank-divergence": "warning"}  # each trains its own copy by hand


def test_fewer_validation_batches_count_as_what_they_are(runs: dict[str, Run]) -> None:
    assert steps(runs["uneven_val"]) == [("fit", 24), ("fit", 24)]
    passes = [v for (_, stage), v in values(runs["uneven_val"][0]).items() if stage == "validation"]
    assert [float(v["val/samples"]) for v in passes] == [72.0] * 3
    assert [float(v["class/support"].sum()) for v in passes] == [72.0] * 3


def test_steps_without_a_loss_on_one_rank(runs: dict[str, Run]) -> None:
    assert steps(runs["skipping"]) == [("fit", 32), ("fit", 21)]
    read = values(runs["skipping"][0])
    assert all("loss/train" in v for (_, stage), v in read.items() if stage == "train")


def test_a_rank_that_stops_alone(runs: dict[str, Run]) -> None:
    assert steps(runs["stops_alone"]) == [("fit", 32), ("fit", 8)]
    assert seen(runs["stops_alone"]) == list(range(1, 33))


def test_a_rank_that_raises_ends_all_with_the_users_error(runs: dict[str, Run]) -> None:
    assert steps(runs["one_raises"]) == [("RuntimeError", 10), ("RuntimeError", 10)]
    assert seen(runs["one_raises"]) == list(range(1, 11))


def test_a_probe_and_a_detector_that_fail_on_one_rank(runs: dict[str, Run]) -> None:
    ranks = runs["parts_fail"]
    assert steps(ranks) == [("fit", 24), ("fit", 24)]
    assert ranks[0]["failed"] == {} and sorted(ranks[1]["failed"]) == ["Own", "loss/watched"]
    assert ranks[0]["unmeasured"]["grad/norm"] == "rank 1: Own failed: RuntimeError: the probe's own"
    assert [f["rule"] for f in ranks[0]["findings"]] == ["loss/watched"]


def test_the_budget_chooses_steps_that_are_the_same_on_both(runs: dict[str, Run]) -> None:
    ranks = runs["by_budget"]
    assert steps(ranks) == [("fit", 450), ("fit", 450)]
    waits = {step: v["rank/wait_s"] for (step, stage), v in values(ranks[0]).items() if stage == "train" and "lr" in v}
    # dense, every 32nd, and after 8 of these as seldom as so small a model asks for
    assert list(waits) == [*range(1, 33), *range(64, 385, 32)]
    assert not any(np.isnan(wait).any() for wait in waits.values())  # both sampled each of them


def test_a_finding_that_stops_the_run_stops_all_at_one_step(runs: dict[str, Run]) -> None:
    (end, stopped), other = steps(runs["stop_on"])
    assert (end, stopped) == other and end == "fit" and 21 <= stopped < 40
    assert runs["stop_on"][0]["findings"] == runs["stop_on"][1]["findings"] != []
