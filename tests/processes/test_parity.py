"""Two processes tell the same of the same global batches as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.processes.running import Run, run, values

EXACT = (
    "loss/train", "grad/norm", "grad/norm_after_clip", "grad/parameter_norm", "weight/parameter_norm",
    "update/parameter_ratio", "loss/val", "accuracy/val",
)  # fmt: skip
COUNTS = ("class/support", "class/right", "class/predicted", "class/confusion", "val/samples", "grad/missing", "lr")


BETWEEN = ("system/rank-divergence", "system/same-data-on-ranks", "system/straggler")  # judged with two only
PAIRS = (
    ("one_process", "two_processes"),
    ("one_process", "fsdp2"),
    ("one_process", "fsdp2_mixed"),
    ("one_clipped", "fsdp2_clipped"),
    ("one_diverges", "two_diverge"),
)
# looked at where one process trains alone, and in whole parameters only
ALONE = (
    "sanity/",
    "data/near_",
    "weight/kurtosis",
    "weight/called",
    "grad/along",
    "grad/zero_frac",
    "grad/quantized_frac",
    "update/lost_frac",
)
HEARD = 8  # steps until two processes know that outputs are scores of classes: packets travel
pairs = pytest.mark.parametrize(("lone", "case"), PAIRS)


def judged(rules: list[str]) -> set[str]:
    """The rules to compare: statistics of inputs are means over processes, each of which saw half of the samples."""
    return {
        rule
        for rule in rules
        if rule not in BETWEEN and not rule.startswith(("data/", "sanity/", "gradients/underflow", "updates/lost"))
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    cases = ["one_process", "one_clipped", "one_diverges", *(two for _, two in PAIRS)]
    return run(tmp_path_factory.mktemp("parity"), *cases)


@pairs
def test_the_same_signals(runs: dict[str, Run], lone: str, case: str) -> None:
    one, two = values(runs[lone][0]), values(runs[case][0])
    assert one.keys() == two.keys()
    loose = 1e-3 if case == "two_diverge" else 1e-5  # a run that diverges doubles every rounding error
    seen = set()
    for place, alone in one.items():
        late = {"accuracy/train"} if place[0] <= HEARD else set()
        missing = {name for name in alone.keys() - two[place].keys() - late if not name.startswith(ALONE)}
        assert missing == set()
        for name in EXACT:
            if name in alone:
                seen.add(name)
                np.testing.assert_allclose(
                    two[place][name], alone[name], rtol=loose, atol=1e-7, err_msg=f"{place} {name}"
                )
        for name in COUNTS:
            if name in alone:
                seen.add(name)
                assert two[place][name].tolist() == alone[name].tolist(), (place, name)
    assert seen == {*EXACT, *COUNTS}


@pairs
def test_the_same_weights_and_findings_on_every_rank(runs: dict[str, Run], lone: str, case: str) -> None:
    one, ranks = runs[lone][0], runs[case]
    assert ranks.keys() == {0, 1}
    for name, weight in one["weights"].items():
        np.testing.assert_allclose(ranks[0]["weights"][name], weight, rtol=1e-3, atol=1e-5)
    assert (one["findings"] != []) == (case == "two_diverge")
    for rank in ranks.values():
        assert rank["failed"] == {}
        for told in ("findings", "verdict", "skipped", "ran"):
            assert rank[told] == ranks[0][told]
        assert judged(rank["ran"]) == judged(one["ran"])
        for mine, theirs in zip(rank["findings"], one["findings"], strict=True):
            for told in ("rule", "severity", "where", "first_step", "status", "count"):
                assert mine[told] == theirs[told]


@pairs
def test_only_the_first_process_tells(runs: dict[str, Run], lone: str, case: str) -> None:
    assert runs[case][0]["readings"] and not runs[case][1]["readings"]


def test_weights_are_those_of_a_run_without_us_to_the_last_bit(tmp_path: Path, runs: dict[str, Run]) -> None:
    cases = ("two_processes", "fsdp2", "fsdp2_clipped", "two_diverge")
    for case, ranks in run(tmp_path, *cases, bare=True).items():
        assert ranks.keys() == {0, 1}
        for rank, bare in ranks.items():
            assert bare["weights"] == runs[case][rank]["weights"], case


@pytest.mark.slow
def test_processes_that_are_launched_or_spawned_tell_the_same(tmp_path: Path, runs: dict[str, Run]) -> None:
    forked = runs["two_processes"]
    for case in ("launched", "spawned"):  # a launched process runs the program again
        ranks = run(tmp_path, case)[case]
        assert ranks.keys() == {0, 1}, case
        assert values(ranks[0])[24, "train"]["grad/norm"] == values(forked[0])[24, "train"]["grad/norm"]
        for rank in ranks.values():
            assert rank["verdict"] == forked[0]["verdict"] and rank["failed"] == {}


def test_a_run_of_two_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    runs = run(tmp_path, "two_diverge", "two_resumed")
    whole, later = values(runs["two_diverge"][0]), values(runs["two_resumed"][0])
    assert later.keys() == {place for place in whole if place[0] > 16}
    exact = {*EXACT, *COUNTS} - {"accuracy/val", "loss/val"}  # every rank goes on with the running means of the first
    for place, seen in later.items():
        for name in exact & seen.keys():
            np.testing.assert_allclose(seen[name], whole[place][name], rtol=1e-5, err_msg=f"{place} {name}")
    told = [{f["rule"]: f["severity"] for f in runs["two_diverge"][0]["findings"]}]
    told += [{f["rule"]: f["severity"] for f in runs["two_resumed"][rank]["findings"]} for rank in (0, 1)]
    assert told[0] == told[1] == told[2] and told[0]
    assert runs["two_resumed"][0]["failed"] == runs["two_resumed"][1]["failed"] == {}
