"""SARIF through the command: valid by the schema, and with links that hold."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_diag import cli
from lightning_diag.reading import Facts, Reading
from tests.packages import ROOT
from tests.test_replay import BROKEN, readings, write

SCHEMA = "@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"  # the standard's schema, in a package of npm's


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


@pytest.fixture(scope="module")
def schema() -> Any:
    """A validator of SARIF 2.1.0."""
    jsonschema = pytest.importorskip("jsonschema", reason="the package jsonschema is not installed")
    named = os.environ.get("LIGHTNING_DIAG_SARIF_SCHEMA")
    path = Path(named) if named else ROOT / "node_modules" / SCHEMA
    if not path.is_file():
        pytest.skip(f"no schema of SARIF: not {path} (npm install @microsoft/jest-sarif), and none is named")
    made = jsonschema.Draft4Validator(json.loads(path.read_text()))
    made.check_schema(made.schema)
    return made


def sarif(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """What the command prints, with links that hold: rules and artifacts are where the results say."""
    code = cli.main(["check", *map(str, arguments), "--sarif"])
    out, err = capsys.readouterr()
    assert err == "" and "\\u001b" not in out
    log: dict[str, Any] = json.loads(out)
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (part,) = log["runs"]
    ids = [rule["id"] for rule in part["tool"]["driver"]["rules"]]
    assert len(set(ids)) == len(ids)
    for result in part["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        for place in result["locations"]:
            artifact = place["physicalLocation"]["artifactLocation"]
            assert artifact["uri"] == part["artifacts"][artifact["index"]]["location"]["uri"]
            assert " " not in artifact["uri"]
    return code, log


@pytest.mark.parametrize("options", [(), ("--baseline",), ("--suppress", "*=why not"), ("--set", "loss/spike.limit=9")])
@pytest.mark.parametrize("name", ["broken", "dead", "nothing"])
def test_sarif_is_valid_by_the_schema(
    name: str,
    options: tuple[str, ...],
    schema: Any,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "nothing":
        write(tmp_path / "nothing", [])
    record = tmp_path / "nothing" if name == "nothing" else request.getfixturevalue(name)
    if options == ("--baseline",):
        (tmp_path / "known.txt").write_text("loss/non-finite::\n")
        options = ("--baseline", str(tmp_path / "known.txt"))
    _, log = sarif(record, *options, capsys=capsys)
    assert [f"{error.json_path}: {error.message}" for error in schema.iter_errors(log)] == []


def test_the_schema_refuses_what_is_not_sarif(schema: Any, broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, log = sarif(broken, capsys=capsys)
    log["runs"][0]["results"][0]["level"] = "fatal"
    log["runs"][0]["surprise"] = 1
    assert {error.json_path for error in schema.iter_errors(log)} == {"$.runs[0]", "$.runs[0].results[0].level"}


def test_the_findings_are_in_it(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, log = sarif(broken, capsys=capsys)
    (part,) = log["runs"]
    (result,) = (r for r in part["results"] if r["ruleId"] == "loss/non-finite")
    assert (code, result["level"], result["properties"]["firstStep"]) == (1, "error", 201)
    assert part["artifacts"][0]["location"]["uri"].startswith("file://")
    assert part["properties"]["checksSkipped"]["gradients/vanishing"].startswith("no reading of")
    assert "suppressions" not in result and "baselineState" not in result


def test_it_names_parameters_as_logical_locations(dead: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, log = sarif(dead, capsys=capsys)
    (result,) = (r for r in log["runs"][0]["results"] if r["ruleId"] == "gradients/non-finite")
    assert result["locations"][0]["logicalLocations"] == [
        {"fullyQualifiedName": "b.weight", "name": "weight", "kind": "member"}
    ]


def test_it_carries_baseline_and_reasons(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "known.txt").write_text("loss/non-finite::\n")
    _, log = sarif(broken, "--baseline", tmp_path / "known.txt", capsys=capsys)
    states = {r["ruleId"]: r["baselineState"] for r in log["runs"][0]["results"]}
    assert states["loss/non-finite"] == "unchanged" and set(states.values()) <= {"unchanged", "new"}
    _, log = sarif(broken, "--suppress", "*=why not", capsys=capsys)
    for result in log["runs"][0]["results"]:
        assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "why not"}]


def test_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [])
    code, log = sarif(tmp_path, capsys=capsys)
    assert (code, log["runs"][0]["results"]) == (2, [])
    assert log["runs"][0]["invocations"] == [{"executionSuccessful": False}]
