"""Logs as Lightning's own loggers write them today, of real trainings without us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from torch.nn import functional as F  # noqa: N812

from lightning_diag import Severity, check
from lightning_diag.logs import Log, open_log
from tests.training import Classifier, fit
from tests.wandb_file import read_finished


class Logging(Classifier):
    """Logs like most people's modules; ``bad`` makes its loss stop being a number after step 100."""

    def __init__(self, lr: float = 3e-3, bad: bool = False) -> None:
        super().__init__(lr)
        self.bad = bad
        self.save_hyperparameters()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        if self.bad and self.global_step >= 100:
            loss = loss * float("nan")
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        out = self.net(x)
        self.log("val_loss", F.cross_entropy(out, y))
        self.log("val_acc", (out.argmax(1) == y).float().mean())


def trained(logger: Any, tmp_path: Path, every: int, **how: Any) -> None:
    fit(
        Logging(**how), [LearningRateMonitor()], tmp_path, steps=240, logger=logger, log_every_n_steps=every
    )  # fmt: skip


def check_content(log: Log, every: int) -> None:
    assert log.columns["loss/train"] == ("train_loss_step",)
    assert log.columns["loss/val"] == ("val_loss",) and log.columns["accuracy/val"] == ("val_acc",)
    assert log.columns["lr"] == ("lr-Adam",)
    readings = list(log.readings())
    losses = [r.step for r in readings if "loss/train" in r]
    assert losses == list(range(every, 241, every))
    assert [r.step for r in readings if "loss/val" in r] == list(range(24, 241, 24)), "after each epoch of 24 steps"
    assert log.interval_steps == every
    assert readings[-1].stage == "end" and readings[-1].step == 240 and readings[-1].epoch == 9


@pytest.mark.parametrize("every", [1, 10])
def test_a_csv_log(every: int, tmp_path: Path) -> None:
    trained(CSVLogger(tmp_path), tmp_path, every)
    log = open_log(tmp_path / "lightning_logs" / "version_0")
    check_content(log, every)
    assert log.table.config == {"bad": False, "lr": 3e-3}
    assert max((f.severity for f in check(log).findings), default=Severity.INFO) == Severity.INFO


@pytest.mark.parametrize("every", [1, 10])
def test_a_csv_log_of_a_run_that_broke(every: int, tmp_path: Path) -> None:
    trained(CSVLogger(tmp_path), tmp_path, every, bad=True)
    (finding,) = (f for f in check(tmp_path / "lightning_logs" / "version_0").findings if f.severity > Severity.INFO)
    assert finding.rule == "loss/non-finite" and 101 <= finding.first_step <= 100 + every


def test_an_offline_wandb_log(tmp_path: Path) -> None:
    run = wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True))
    file = Path(run.settings.sync_file)
    trained(WandbLogger(experiment=run), tmp_path, 10)
    run.finish()
    read_finished(file)
    log = open_log(file.parent)
    check_content(log, 10)
    assert log.table.ended is True and log.table.config["lr"] == 3e-3
    assert max((f.severity for f in check(log).findings), default=Severity.INFO) == Severity.INFO


def test_a_tensorboard_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from lightning.pytorch.loggers import TensorBoardLogger

    trained(TensorBoardLogger(tmp_path), tmp_path, 10)
    log = open_log(tmp_path / "lightning_logs" / "version_0")
    check_content(log, 10)
    assert log.table.config == {"bad": False, "lr": 3e-3}
