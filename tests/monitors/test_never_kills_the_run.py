"""Our own exceptions end in one place; bad input gets a clear sentence and training goes on."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Diagnostics, GradientMonitor, MemorySink, Severity, StabilityMonitor
from lightning_diag._judge.judge import Judge
from lightning_diag._transfer import Transfer
from lightning_diag.detectors import LossSpike
from lightning_diag.probes.gradient import GradientProbe
from lightning_diag.probes.loss import LossProbe
from lightning_diag.probes.observer import Observer
from tests.training import Classifier, digits, fit, loader


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    torch.manual_seed(0)
    module = Classifier()
    fit(module, [], tmp_path_factory.mktemp("bare"), steps=30)
    return weights(module)


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("planted")


PLACES: dict[str, tuple[type, str]] = {
    "probe attach": (GradientProbe, "attach"),
    "probe facts": (GradientProbe, "facts"),
    "probe before update": (GradientProbe, "before_update"),
    "probe after update": (GradientProbe, "after_update"),
    "probe collect": (GradientProbe, "collect"),
    "probe loss": (LossProbe, "loss"),
    "probe validation": (LossProbe, "validation_end"),
    "detector": (LossSpike, "update"),
    "sink open": (MemorySink, "open"),
    "sink reading": (MemorySink, "reading"),
    "sink close": (MemorySink, "close"),
    "judge": (Judge, "update"),
    "transfer": (Transfer, "submit"),
    "observer start": (Observer, "start"),
    "observer look": (Observer, "look"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_fault_leaves_the_run_alone(
    place: str, bare: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kind, name = PLACES[place]
    monkeypatch.setattr(kind, name, broken)
    caplog.set_level(logging.WARNING, logger="lightning_diag")
    diag = Diagnostics(sinks=[MemorySink()], every_n_steps=1)
    torch.manual_seed(0)
    module = Classifier()
    fit(module, [diag], tmp_path, steps=30)
    assert torch.equal(weights(module), bare)
    told = [r for r in caplog.records if "planted" in r.getMessage()]
    assert len(told) == 1, [r.getMessage() for r in caplog.records]


def test_the_other_monitors_stay_alive_and_the_coverage_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GradientProbe, "before_update", broken)
    diag = Diagnostics(every_n_steps=1, sinks=[])
    fit(Classifier(), [diag], tmp_path, steps=80)
    coverage = diag.diagnosis.coverage
    assert "loss/spike" in coverage.ran
    assert "planted" in coverage.skipped["gradients/vanishing"]


def test_strict_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GradientProbe, "collect", broken)
    with pytest.raises(RuntimeError, match="planted"):
        fit(Classifier(), [Diagnostics(strict=True, sinks=[])], tmp_path, steps=5)


def test_an_exception_of_the_user_closes_the_record(tmp_path: Path) -> None:
    class Raising(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if self.global_step == 7:
                raise KeyError("mine")
            return super().training_step(batch, batch_idx)

    diag = Diagnostics(run_dir=tmp_path / "run")
    with pytest.raises(KeyError, match="mine"):
        fit(Raising(), [diag], tmp_path)
    assert (tmp_path / "run" / "report.html").exists()
    assert diag.run_dir is not None and len((diag.run_dir / "readings.jsonl").read_text().splitlines()) >= 7


class NoLoss(Classifier):
    """Manual optimization that returns nothing and never calls backward through Lightning."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        return None


class Skips(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx % 2 else super().training_step(batch, batch_idx)


class Frozen(Classifier):
    def __init__(self) -> None:
        super().__init__()
        for parameter in self.net.parameters():
            parameter.requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.cross_entropy(self.net(x), y).requires_grad_(True)


def test_no_loss_at_all_is_not_checked(tmp_path: Path) -> None:
    diag = Diagnostics(strict=True)
    fit(NoLoss(), [diag], tmp_path, steps=-1, max_epochs=1, limit_val_batches=0)
    assert diag.diagnosis.verdict.startswith("Not checked")
    assert "loss" in diag.diagnosis.coverage.skipped["loss/spike"]


@pytest.mark.filterwarnings("ignore:.training_step. returned .None.:UserWarning")
def test_steps_without_a_loss_are_skipped(tmp_path: Path) -> None:
    diag = Diagnostics(strict=True)
    fit(Skips(), [diag], tmp_path, steps=150)
    assert diag.diagnosis.healthy


def test_a_frozen_model_says_so(tmp_path: Path) -> None:
    diag = Diagnostics(strict=True)
    fit(Frozen(), [diag], tmp_path, steps=30)
    assert diag.diagnosis.coverage.skipped["gradients/vanishing"] == "no parameter of the module is trainable"


def test_a_nan_batch_is_traced_to_the_input(tmp_path: Path) -> None:
    x, y = digits()
    x[700, 3] = float("nan")
    train = DataLoader(TensorDataset(x[:1500], y[:1500]), batch_size=50, shuffle=False)
    diag = Diagnostics(strict=True)
    fit(Classifier(), [diag], tmp_path, steps=40, train=train)
    found = {f.rule: f for f in diag.findings}["loss/non-finite"]
    assert found.severity == Severity.CRITICAL and found.first_step == 15
    assert found.where == ("batch[0]",) and "batch 14" in found.message
    assert diag.diagnosis.causes[0].name == "non-finite" and len(diag.diagnosis.causes) == 1


def test_an_empty_loader(tmp_path: Path) -> None:
    empty = DataLoader(TensorDataset(torch.empty(0, 64), torch.empty(0, dtype=torch.long)))
    diag = Diagnostics(strict=True)
    with pytest.warns(UserWarning, match="Total length of"):
        fit(Classifier(), [diag], tmp_path, train=empty)
    assert not diag.diagnosis.healthy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    diag = Diagnostics(run_dir=tmp_path / "locked" / "run")
    fit(Classifier(), [diag], tmp_path, steps=10)
    assert diag.run_dir is None and len(caplog.records) == 1


def test_a_run_dir_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    diag = Diagnostics(run_dir=tmp_path / "file" / "run")
    fit(Classifier(), [diag], tmp_path, steps=10)
    assert diag.run_dir is None and diag.diagnosis.coverage.ran
    assert [r for r in caplog.records if "the run record" in r.getMessage()]


def test_wandb_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    diag = Diagnostics(strict=True)
    fit(Classifier(), [diag], tmp_path, steps=10)
    assert diag.run_dir is not None and (diag.run_dir / "report.html").exists()


def test_on_finding_that_raises_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x, y = digits()
    x[:] = float("nan")
    diag = Diagnostics(on_finding=broken, sinks=[])
    fit(Classifier(), [diag], tmp_path, steps=20, train=DataLoader(TensorDataset(x, y), batch_size=50))
    assert len([r for r in caplog.records if "on_finding" in r.getMessage()]) == 1
    assert diag.findings


def test_any_order_of_monitors_shares_one_pipeline(tmp_path: Path) -> None:
    for monitors in ([GradientMonitor(), StabilityMonitor()], [StabilityMonitor(), GradientMonitor()]):
        fit(Classifier(), monitors, tmp_path, steps=60)
        first, second = monitors
        assert first.run_dir == second.run_dir and first.diagnosis == second.diagnosis
        assert {"loss/spike", "gradients/exploding"} <= set(first.diagnosis.coverage.ran)


def test_loader_of_tests_is_what_it_says() -> None:
    assert len(loader()) == 24 and len(loader(train=False)) == 5
