"""Two processes tell the same of the same global batches as one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.processes.running import Run, run, values

EXACT = (
    "loss/train", "grad/norm", "grad/norm_after_clip", "grad/parameter_norm", "weight/parameter_norm",
    "update/parameter_ratio", "loss/val", "accuracy/val",
)  # fmt: skip
COUNTS = ("class/support", "class/right", "class/predicted", "class/confusion", "val/samples", "grad/missing", "lr")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    return run(tmp_path_factory.mktemp("parity"), "one_process", "two_processes")


@pytest.mark.parametrize("case", ["two_processes"])
def test_the_same_signals(runs: dict[str, Run], case: str) -> None:
    one, two = values(runs["one_process"][0]), values(runs[case][0])
    assert one.keys() == two.keys()
    seen = set()
    for place, alone in one.items():
        for name in EXACT:
            if name in alone:
                seen.add(name)
                np.testing.assert_allclose(
                    two[place][name], alone[name], rtol=1e-5, atol=1e-7, err_msg=f"{place} {name}"
                )
        for name in COUNTS:
            if name in alone:
                seen.add(name)
                assert two[place][name].tolist() == alone[name].tolist(), (place, name)
        assert alone.keys() - two[place].keys() == set()
    assert seen == {*EXACT, *COUNTS}


@pytest.mark.parametrize("case", ["two_processes"])
def test_the_same_weights_and_findings_on_every_rank(runs: dict[str, Run], case: str) -> None:
    one, ranks = runs["one_process"][0], runs[case]
    assert ranks.keys() == {0, 1}
    for name, weight in one["weights"].items():
        np.testing.assert_allclose(ranks[0]["weights"][name], weight, atol=1e-5)
    for rank in ranks.values():
        assert rank["failed"] == {}
        for told in ("findings", "verdict", "skipped", "ran"):
            assert rank[told] == ranks[0][told]
        assert [f["rule"] for f in rank["findings"]] == [f["rule"] for f in one["findings"]]
        assert rank["ran"] == one["ran"]


@pytest.mark.parametrize("case", ["two_processes"])
def test_only_the_first_process_tells(runs: dict[str, Run], case: str) -> None:
    assert runs[case][0]["readings"] and not runs[case][1]["readings"]
