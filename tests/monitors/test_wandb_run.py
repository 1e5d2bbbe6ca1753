"""An offline W&B run of a real training, read back and compared with the record and with the signal table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader

from lightning_diag import Diagnostics, load
from lightning_diag.signals import PREFIX, logged_keys
from lightning_diag.sinks._charts import CLASSES as CLASSES_TABLE
from lightning_diag.sinks._charts import DOMAINS as DOMAINS_TABLE
from lightning_diag.sinks._charts import MEDIA, REPORT
from tests.training import Classifier, fit
from tests.wandb_file import read_finished


@pytest.mark.parametrize("lr", [1e-3, 1.0])
def test_what_wandb_holds_is_what_the_record_holds(lr: float, tmp_path: Path) -> None:
    run = wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True))
    logger = WandbLogger(experiment=run)
    csv = CSVLogger(str(tmp_path / "csv"))
    diag = Diagnostics(strict=True, every_n_steps=5)
    fit(Classifier(lr=lr), [diag], tmp_path, steps=150, logger=[logger, csv], log_every_n_steps=5)
    file = Path(run.settings.sync_file)
    run.finish()
    log = read_finished(file)

    ours = [row for row in log.history if "diag/step" in row]
    keys = {k for row in ours for k in row if k.startswith(PREFIX) and not k.startswith(tuple(MEDIA))} - {"diag/step"}
    assert keys <= logged_keys().keys() and len(keys) <= 60
    assert {"diag/loss/train", "diag/grad/norm", "diag/loss/val", "diag/update/parameter_ratio/median"} <= keys
    assert all(log.metrics[key][0] == "diag/step" for key in keys)

    assert diag.run_dir is not None
    record = load(diag.run_dir)
    norms = {r.step: r.scalar("grad/norm") for r in record.readings() if "grad/norm" in r}
    logged = {row["diag/step"]: row["diag/grad/norm"] for row in ours if "diag/grad/norm" in row}
    assert logged == pytest.approx(norms) and len(norms) == 30
    losses = {r.step: r.scalar("loss/train") for r in record.readings() if "loss/train" in r}
    assert len(losses) == 150
    for row in ours:
        if "diag/loss/train" in row:
            assert row["diag/loss/train"] == pytest.approx(losses[row["diag/step"]])

    serious = [f for f in diag.findings if f.severity >= 1]
    assert log.summary["diag/verdict"] == diag.diagnosis.verdict
    assert bool(log.alerts) == bool(serious) and (serious or lr < 1.0)
    assert {title.partition(": ")[2] for title, _, _ in log.alerts} <= {f.rule for f in serious}
    assert [f.to_dict() for f in record.findings] == [f.to_dict() for f in diag.findings]
    header = (tmp_path / "csv" / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "diag/grad/norm" in header.split(",") and "val_loss" in header.split(",")


DOMAINS, CLASSES = 20, 1000


class Wide(Classifier):
    """300 layers, 1,000 classes and 20 domains: with what all monitors look at."""

    def __init__(self) -> None:
        super().__init__()
        block = [part for _ in range(99) for part in (nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU())]
        self.net = nn.Sequential(nn.Linear(64, 8), nn.LayerNorm(8), nn.ReLU(), *block, nn.Linear(8, CLASSES))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch["x"]), batch["y"])

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", F.cross_entropy(self.net(batch["x"]), batch["y"]), batch_size=len(batch["y"]))


def wide() -> DataLoader[Any]:
    """A sample of each class, every domain by turns."""
    x = torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(0))
    samples: Any = [{"x": x[i], "y": i, "domain": f"domain {i % DOMAINS}"} for i in range(CLASSES)]
    return DataLoader(samples, batch_size=250)


def test_the_number_of_series_does_not_grow_with_the_model(tmp_path: Path) -> None:
    run = wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True))
    module = Wide()
    assert sum(not list(part.children()) for part in module.net) == 301
    diag = Diagnostics(strict=True, every_n_steps=2)
    logger = WandbLogger(experiment=run)
    fit(module, [diag], tmp_path, steps=12, logger=logger, train=wide(), val=wide())
    assert diag.run_dir is not None
    facts = load(diag.run_dir).facts
    assert facts.num_classes == CLASSES and 1 < len(facts.names["domain"]) <= DOMAINS
    file = Path(run.settings.sync_file)
    run.finish()
    log = read_finished(file)
    keys = {key for row in log.history if "diag/step" in row for key in row if key.startswith(PREFIX)}
    scalars = {key for key in keys if not key.startswith(tuple(MEDIA))} - {"diag/step"}
    assert scalars <= logged_keys().keys() and 10 < len(scalars) <= 60
    assert {REPORT, CLASSES_TABLE, DOMAINS_TABLE} <= {key.rpartition("/")[0] for key in keys}
    shown = {name for name, (_, hidden) in log.metrics.items() if name.startswith(PREFIX) and not hidden}
    assert len(shown | MEDIA) <= 25
