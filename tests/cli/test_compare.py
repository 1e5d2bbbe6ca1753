from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_diag import Diagnostics, cli
from tests.test_replay import falling, readings, write
from tests.training import Classifier, fit


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = cli.main(["compare", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trainings that differ in their seed, one like them, and one at a hundredth of the learning rate."""
    root = tmp_path_factory.mktemp("runs")
    for name, seed, lr in (("a", 1, 3e-3), ("b", 2, 3e-3), ("c", 3, 3e-3), ("like", 4, 3e-3), ("slow", 5, 3e-5)):
        fit(Classifier(lr=lr), [Diagnostics(run_dir=root / name, every_n_steps=5)], root, steps=100, seed=seed)
    return root


def good(runs: Path) -> list[Path]:
    return [runs / name for name in "abc"]


def test_a_run_like_the_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, runs / "like", *good(runs))
    assert code == 0
    assert "worse" not in out.replace("Not worse", "")
    assert "no setting that is known differs" in out


def test_a_worse_run_and_what_it_was_given(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, runs / "slow", *good(runs))
    assert code == 1
    assert out.startswith("WARNING: worse than 3 known-good runs. ")
    assert "learning rate, highest: 3e-05  <>  0.003" in out
    assert "Adam.lr: 3e-05  <>  0.003" in out
    assert run(capsys, runs / "slow", *good(runs), "--fail-on", "critical")[0] == 0


def test_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, runs / "slow", *good(runs), "--json")
    told = json.loads(out)
    assert list(told) == [
        "schema", "version", "run", "baselines", "common_steps", "fail_on", "exit_code", "verdict", "quantities",
        "findings", "differences", "caveats",
    ]  # fmt: skip
    assert (code, told["exit_code"], told["schema"], told["common_steps"]) == (1, 1, 1, 100)
    assert {f["rule"].partition("/")[0] for f in told["findings"]} == {"compare"}
    assert {"name": "Adam.lr", "run": 3e-05, "baselines": [0.003] * 3, "baselines_agree": True} in told["differences"]


def test_one_known_good_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, runs / "slow", runs / "a")
    assert code == 0
    assert "nobody knows whether it is noise" in out
    assert "note: 1 known-good run: the noise between seeds is not known" in out
    told = json.loads(run(capsys, runs / "slow", runs / "a", "--json")[1])
    assert {q["p"] for q in told["quantities"]} == {None}


def test_runs_of_other_lengths_and_of_logs(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"{i},{x}" for i, x in enumerate(falling(60)))
    (tmp_path / "metrics.csv").write_text(f"step,nll\n{rows}\n")
    write(tmp_path / "rec", readings(falling(80, seed=1)))
    code, out = run(capsys, tmp_path / "metrics.csv", tmp_path / "metrics.csv", "--map", "loss/train=nll")
    assert code == 0 and "training loss at the end" in out
    write(tmp_path / "short", readings(falling(60, seed=2)))
    _, out = run(capsys, tmp_path / "short", tmp_path / "rec")
    assert "the runs have 60 to 80 steps: the first 60 are compared" in out


def test_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "empty", [])
    code, out = run(capsys, tmp_path / "empty", tmp_path / "empty")
    assert code == 2 and "Not compared" in out
    assert cli.main(["compare", str(tmp_path / "empty"), str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
