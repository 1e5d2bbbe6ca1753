"""Known and accepted findings, SARIF, and logs, through the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_diag import cli
from lightning_diag.reading import Facts, Reading
from tests.test_replay import BROKEN, falling, readings, write


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("broken run")
    write(run, readings(BROKEN))
    return run


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose gradients are not finite in one layer, with a name that nobody should believe."""
    path = tmp_path_factory.mktemp("dead")
    facts = Facts(planned_steps=100, names={"parameter": ("a.weight", "b\x1b[31m.weight")}, parameter_numel=(8, 8))
    norms = np.array([1.0, math.nan])
    stream = [
        Reading(
            i, 0, {"loss/train": np.float64(2.0), "grad/parameter_norm": norms, "grad/norm": np.float64("nan")}, facts
        )
        for i in range(1, 60)
    ]
    write(path, stream)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


def test_what_is_in_the_baseline_does_not_fail(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "known.txt"
    code, out = run(capsys, "check", broken, "--write-baseline", known)
    assert code == 0
    assert out.endswith(f"are known now: {known}\n")
    code, out = run(capsys, "check", broken, "--baseline", known)
    assert code == 0
    assert "known: loss/non-finite::" in out
    assert "lightning_diag CRITICAL: " in out  # the verdict goes on saying what is true
    assert "CRITICAL loss/non-finite at step" not in out
    found = json.loads(run(capsys, "check", broken, "--baseline", known, "--json")[1])
    assert found["exit_code"] == 0 and found["severity"] == "critical"
    assert {f["state"] for f in found["findings"]} == {"known"}


def test_what_is_new_fails_beside_a_baseline(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "known.txt").write_text("loss/spike::\n")
    assert run(capsys, "check", broken, "--baseline", tmp_path / "known.txt")[0] == 1


def test_what_is_accepted_is_left_out_of_the_verdict_and_listed(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accept = ("--suppress", "loss=an experiment, meant to fail", "--suppress", "fit/*=the same")
    code, out = run(capsys, "check", broken, *accept)
    assert code == 0
    assert "Healthy" in out
    assert "suppressed: loss/non-finite:: (an experiment, meant to fail)" in out
    found = json.loads(run(capsys, "check", broken, *accept, "--json")[1])
    assert found["causes"] == []
    (item,) = (f for f in found["findings"] if f["rule"] == "loss/non-finite")
    assert (item["state"], item["reason"]) == ("suppressed", "an experiment, meant to fail")


def test_a_suppression_without_reason_is_misuse(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(broken), "--suppress", "loss/spike"]) == 2
    assert "'rule::place=reason'" in capsys.readouterr().err


def test_no_baseline_of_what_was_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [])
    assert run(capsys, "check", tmp_path, "--write-baseline", tmp_path / "known.txt")[0] == 2
    assert not (tmp_path / "known.txt").exists()


# ---------------------------------------------------------------------------------------------- SARIF

LEVELS = {"none", "note", "warning", "error"}  # sections 3.27.10 and 3.50.3 of the standard
BASELINES = {"new", "unchanged", "updated", "absent"}


def valid(log: dict[str, Any]) -> None:
    """What SARIF 2.1.0 requires of the properties that are used here, and their enumerated values."""
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    for part in log["runs"]:
        driver = part["tool"]["driver"]
        assert driver["name"]
        ids = [rule["id"] for rule in driver["rules"]]
        assert len(set(ids)) == len(ids)
        for rule in driver["rules"]:
            assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"]
            assert rule["defaultConfiguration"]["level"] in LEVELS
        assert all(isinstance(one["executionSuccessful"], bool) for one in part["invocations"])
        assert part["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
        for result in part["results"]:
            assert result["message"]["text"] and result["level"] in LEVELS and result["kind"] == "fail"
            assert ids[result["ruleIndex"]] == result["ruleId"]
            assert result.get("baselineState", "new") in BASELINES
            assert all(isinstance(v, str) for v in result["partialFingerprints"].values())
            for place in result["locations"]:
                artifact = place["physicalLocation"]["artifactLocation"]
                assert artifact["uri"] == part["artifacts"][artifact["index"]]["location"]["uri"]
                assert " " not in artifact["uri"]
                assert all(one["fullyQualifiedName"] for one in place.get("logicalLocations", []))
            for one in result.get("suppressions", []):
                assert one["kind"] in {"inSource", "external"} and one["status"] in {
                    "accepted",
                    "underReview",
                    "rejected",
                }


def test_sarif_is_valid_and_holds_the_findings(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "check", broken, "--sarif")
    log = json.loads(out)
    valid(log)
    (part,) = log["runs"]
    (result,) = (r for r in part["results"] if r["ruleId"] == "loss/non-finite")
    assert (code, result["level"], result["properties"]["firstStep"]) == (1, "error", 201)
    assert part["artifacts"][0]["location"]["uri"].startswith("file://")
    assert part["properties"]["checksSkipped"]["gradients/vanishing"].startswith("no reading of")
    assert "suppressions" not in result and "baselineState" not in result


def test_sarif_names_parameters_as_logical_locations(dead: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = run(capsys, "check", dead, "--sarif")
    assert "\\u001b" not in out
    log = json.loads(out)
    valid(log)
    (result,) = (r for r in log["runs"][0]["results"] if r["ruleId"] == "gradients/non-finite")
    assert result["locations"][0]["logicalLocations"] == [
        {"fullyQualifiedName": "b.weight", "name": "weight", "kind": "member"}
    ]


def test_sarif_carries_baseline_and_reasons(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "known.txt").write_text("loss/non-finite::\n")
    _, out = run(capsys, "check", broken, "--sarif", "--baseline", tmp_path / "known.txt")
    log = json.loads(out)
    valid(log)
    states = {r["ruleId"]: r["baselineState"] for r in log["runs"][0]["results"]}
    assert states["loss/non-finite"] == "unchanged" and set(states.values()) <= {"unchanged", "new"}
    _, out = run(capsys, "check", broken, "--sarif", "--suppress", "*=why not")
    log = json.loads(out)
    valid(log)
    for result in log["runs"][0]["results"]:
        assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "why not"}]


def test_sarif_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [])
    code, out = run(capsys, "check", tmp_path, "--sarif")
    log = json.loads(out)
    valid(log)
    assert (code, log["runs"][0]["results"]) == (2, [])
    assert log["runs"][0]["invocations"] == [{"executionSuccessful": False}]


# ---------------------------------------------------------------------------------------------- logs


def table(path: Path, losses: list[float], name: str = "train_loss") -> Path:
    path.write_text("\n".join([f"step,{name}", *(f"{i},{x}" for i, x in enumerate(losses))]) + "\n")
    return path


def test_a_log_is_judged_and_says_what_it_was_read_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "check", table(tmp_path / "metrics.csv", BROKEN))
    assert code == 1
    assert "The training loss is nan at step 201" in out
    assert "note: read from a CSV log: loss/train = train_loss; the rest was not measured" in out
    code, out = run(capsys, "check", table(tmp_path / "metrics.csv", falling()), "--json")
    found = json.loads(out)
    assert (code, found["source"], found["run_status"]) == (0, "CSV log", "unknown")


def test_a_column_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "metrics.csv", BROKEN, "nll")
    assert run(capsys, "check", path)[0] == 2
    assert run(capsys, "check", path, "--map", "loss/train=nll")[0] == 1
    assert cli.main(["check", str(path), "--map", "loss/train=none"]) == 2
    assert "has no such column; it has nll" in capsys.readouterr().err
    assert cli.main(["check", str(path), "--map", "nll"]) == 2
    assert "--map must be SIGNAL=COLUMN" in capsys.readouterr().err
