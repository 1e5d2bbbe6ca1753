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
from lightning_diag.demo.data import real_digits  # noqa: E402
from lightning_diag.demo.training import Plan, train  # noqa: E402


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
    assert 0 <= result.accuracy <= 1
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
    assert first.accuracy == again.accuracy
    assert again.run_dir != first.run_dir
    other = train(dataclasses.replace(plan, lr=0.1), tmp_path)
    assert not np.isclose(other.accuracy, first.accuracy)
