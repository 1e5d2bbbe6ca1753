"""Known and accepted findings, and logs, through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_diag import cli
from tests.test_replay import BROKEN, falling, readings, write


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("broken run")
    write(run, readings(BROKEN))
    return run


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
