"""``LIGHTNING_DIAG=1`` puts the pack on any trainer of either package; unset it does nothing and loads nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from lightning_diag import Diagnostics, GradientMonitor, _environment, findings
from lightning_diag._guard import Guard
from lightning_diag.monitors.stand_in import StandIn
from lightning_diag.record import load
from tests.packages import ROOT, install, own_entry_points
from tests.training import Classifier, fit, loader

NAMESPACES = ["lightning.pytorch", "pytorch_lightning"]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This package's entry points as they are written today, whatever is installed here."""
    groups = own_entry_points()
    assert set(groups) == {f"{namespace}.callbacks_factory" for namespace in NAMESPACES}
    install(tmp_path / "site", "lightning-diag", groups)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delenv("LIGHTNING_DIAG", raising=False)
    monkeypatch.setattr(_environment, "_guard", Guard())


def records(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("lightning_diag_runs/*/run.json"))


def stand_ins(trainer: Any) -> list[StandIn]:
    return [callback for callback in trainer.callbacks if isinstance(callback, StandIn)]


def module_of(namespace: str) -> Any:
    """A module of the namespace: a trainer takes only its own."""
    if namespace == "lightning.pytorch":
        return Classifier()
    base = importlib.import_module(namespace).LightningModule
    return type("Old", (base,), {k: v for k, v in vars(Classifier).items() if k != "__init__"} | {"__init__": _init})()


def _init(self: Any) -> None:
    torch.nn.Module.__init__(self)
    importlib.import_module("pytorch_lightning").LightningModule.__init__(self)
    self.net, self.lr, self.smoothing = torch.nn.Linear(64, 10), 1e-3, 0.0


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_variable_puts_the_pack_on_a_trainer(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(namespace)
    monkeypatch.setenv("LIGHTNING_DIAG", "1")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = importlib.import_module(namespace).Trainer(
        max_steps=20, accelerator="cpu", default_root_dir=tmp_path, enable_checkpointing=False, **quiet
    )
    trainer.fit(module_of(namespace), loader(), loader(train=False))
    (diag,) = stand_ins(trainer)
    assert records(tmp_path) == [diag.run_dir]
    assert diag.run_dir is not None and load(diag.run_dir).info["last_step"] == 20
    assert diag.diagnosis.coverage.ran and findings(trainer) == diag.findings


@pytest.mark.parametrize("value", [None, "", "0", "off", "False"])
def test_unset_or_off_nothing_is_there(value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("LIGHTNING_DIAG", value)
    assert stand_ins(pl.Trainer(logger=False, accelerator="cpu", default_root_dir=tmp_path)) == []


def test_before_the_variable_is_set_nothing_heavy_is_loaded() -> None:
    script = (
        "from lightning_diag._environment import callbacks; assert callbacks() == []\n"
        "import sys; print(*{'torch', 'lightning', 'numpy', 'rich', 'wandb'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=ROOT, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.split() == []


def test_a_word_it_does_not_know_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LIGHTNING_DIAG", "maybe")
    for _ in range(2):
        assert stand_ins(pl.Trainer(logger=False, accelerator="cpu", default_root_dir=tmp_path)) == []
    assert [r.getMessage() for r in caplog.records if r.name == "lightning_diag"] == [
        "Diagnostics() for LIGHTNING_DIAG failed and is switched off; training goes on. "
        "ValueError: LIGHTNING_DIAG must be 1 or 0, got 'maybe'"
    ]


def test_a_pack_that_cannot_be_made_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Any) -> None:
        raise ImportError("planted")

    monkeypatch.setattr(StandIn, "__init__", broken)
    monkeypatch.setenv("LIGHTNING_DIAG", "1")
    fit(Classifier(), [], tmp_path, steps=3)
    assert [r.getMessage() for r in caplog.records if "planted" in r.getMessage()]


@pytest.mark.parametrize("own", [Diagnostics, GradientMonitor])
def test_the_users_own_monitors_win(own: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTNING_DIAG", "1")
    mine = own()
    trainer = fit(Classifier(), [mine], tmp_path, steps=10)
    (diag,) = stand_ins(trainer)
    assert records(tmp_path) == [mine.run_dir]
    assert diag.run_dir is None and not diag.diagnosis.coverage.ran
    assert findings(trainer) == mine.findings
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    assert "StandIn" not in torch.load(path, weights_only=True)["callbacks"]


def test_a_monitor_that_the_module_brings_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Diagnostics()

    class Bringing(Classifier):
        def configure_callbacks(self) -> Any:
            return [mine]

    monkeypatch.setenv("LIGHTNING_DIAG", "1")
    fit(Bringing(), [], tmp_path, steps=5)
    assert records(tmp_path) == [mine.run_dir]


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTNING_DIAG", "1")
    path = tmp_path / "last.ckpt"
    fit(Classifier(), [], tmp_path, steps=24).save_checkpoint(path)  # an epoch
    trainer = fit(Classifier(), [], tmp_path, steps=30, ckpt_path=str(path))
    (run_dir,) = records(tmp_path)
    assert stand_ins(trainer)[0].run_dir == run_dir
    assert [r.step for r in load(run_dir).readings() if "loss/train" in r.values] == list(range(1, 31))


def test_weights_are_those_of_a_training_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = Classifier()
        fit(module, [], tmp_path, steps=15)
        return list(module.parameters())

    bare = trained()
    monkeypatch.setenv("LIGHTNING_DIAG", "1")
    watched = trained()
    assert len(records(tmp_path)) == 1
    assert all(torch.equal(a, b) for a, b in zip(bare, watched, strict=True))
