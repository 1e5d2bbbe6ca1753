from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from lightning_diag.demo import training  # noqa: E402
from lightning_diag.demo.data import REAL, SYNTHETIC, Digits, real_digits  # noqa: E402
from lightning_diag.demo.training import Plan, Result, train  # noqa: E402
from lightning_diag.diagnosis import Diagnosis  # noqa: E402


@pytest.fixture
def plan() -> Plan:
    digits = real_digits()
    return Plan("short", digits["train"].take(256), digits["val"].take(100), epochs=2)


def test_a_training_gives_record_log_and_numbers(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)  # no W&B
    state = torch.random.get_rng_state()
    environment = dict(os.environ)
    result = train(plan, tmp_path)
    assert result.run_dir == tmp_path / "short"
    assert (result.run_dir / "report.html").is_file()
    assert (result.logger, result.steps) == ("CSV", 8)
    assert "val/accuracy" in (result.log_dir / "metrics.csv").read_text()
    logged = [line.split(",") for line in (result.log_dir / "metrics.csv").read_text().splitlines()]
    column = logged[0].index("val/accuracy")
    last = [line[column] for line in logged[1:] if line[column]][-1]
    assert result.accuracy() == pytest.approx(float(last), abs=1e-5)
    assert result.diagnosis.coverage.ran
    assert torch.equal(torch.random.get_rng_state(), state)
    assert dict(os.environ) == environment
    streams = capsys.readouterr()
    assert result.diagnosis.verdict in streams.out
    assert streams.err == ""


def test_wandb_is_used_offline_where_it_is(plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb")
    result = train(dataclasses.replace(plan, epochs=1), tmp_path)
    assert result.logger == "W&B"
    assert result.log_dir.is_relative_to(tmp_path)
    assert list(result.log_dir.glob("*.wandb"))
    streams = capfd.readouterr()
    assert "wandb" not in streams.err + streams.out.replace(str(tmp_path), "")


def test_the_same_plan_gives_the_same_result(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    first, again = train(plan, tmp_path), train(plan, tmp_path)
    assert np.array_equal(first.predicted, again.predicted)
    assert again.run_dir != first.run_dir
    other = train(dataclasses.replace(plan, lr=0.1), tmp_path)
    assert not np.isclose(other.accuracy(), first.accuracy())


def test_training_alone_gives_the_same_weights_and_writes_nothing(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    watched = train(plan, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert training.accuracy_alone(plan) == watched.accuracy()
    assert sorted(tmp_path.rglob("*")) == before
    streams = capsys.readouterr()
    assert streams.out + streams.err == ""


def test_accuracy_and_worst_digits_are_of_one_domain() -> None:
    labels = np.array([3, 3, 3, 3, 5, 5, 7, 7])
    domain = np.array([1, 1, 1, 0, 1, 1, 0, 0])
    predicted = np.array([3, 3, 9, 9, 9, 9, 7, 9])
    val = Digits(np.zeros((8, 1, 8, 8), np.float32), labels, domain)
    result = Result(Plan("x", val, val), Diagnosis(), predicted, 1, Path(), "CSV", Path(), 1.0)
    assert result.accuracy() == result.accuracy(REAL) == pytest.approx(2 / 5)
    assert result.accuracy(SYNTHETIC) == pytest.approx(1 / 3)
    assert np.isnan(result.accuracy(2))
    assert result.worst(1) == [(5, 1.0)]
    assert result.worst(9) == [(5, 1.0), (3, pytest.approx(1 / 3))]
    assert result.worst(9, SYNTHETIC) == [(3, 1.0), (7, 0.5)]
