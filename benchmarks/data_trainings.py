"""Short trainings over a :class:`~benchmarks.data_cases.Case`, watched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.data_cases import Case
from lightning_diag import DataMonitor, Diagnostics, Finding
from lightning_diag.probes.data_content import DataContentProbe
from lightning_diag.streaming.label_suspects import SHOWN

NETS = ("mlp", "wide", "norm-first", "cnn", "slow")


class Net(pl.LightningModule):
    """An ordinary classifier.

    Args:
        kind: one of :data:`NETS`; a ``cnn`` needs images.
        shape: of one input.
        classes: number of classes.
    """

    def __init__(self, kind: str, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        inputs = math.prod(shape)
        if kind == "cnn" and len(shape) == 3:
            self.net = nn.Sequential(
                nn.Conv2d(shape[0], 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
                nn.ReLU(), nn.Flatten(), nn.Linear(32 * (shape[1] // 2) * (shape[2] // 2), classes),
            )  # fmt: skip
        elif kind == "norm-first":
            self.net = nn.Sequential(
                nn.Flatten(), nn.BatchNorm1d(inputs), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, classes)
            )
        else:
            width, dropout = (256, 0.0) if kind == "wide" else (64, 0.2)
            self.net = nn.Sequential(
                nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, classes)
            )
        self.lr = 1e-4 if kind == "slow" else 1e-3

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss alone."""
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss."""
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Outcome(NamedTuple):
    """What a watched training was told.

    Attributes:
        findings: all of them.
        epochs: rule -> epoch in which it first fired.
        suspects: content keys of the samples suspected at half time, the most suspicious first.
    """

    findings: list[Finding]
    epochs: dict[str, int]
    suspects: list[int]


def suspects(session: Any) -> list[int]:
    """Return the keys of suspected samples, the most suspicious first."""
    for _, probe in session.pipeline._roster.every:
        if isinstance(probe, DataContentProbe):
            return [int(key) for key in probe.tally.suspects.found.key[:SHOWN]]
    return []


class _HalfTime(pl.Callback):
    def __init__(self, watch: Diagnostics, epochs: int) -> None:
        self.watch, self.epochs = watch, epochs
        self.suspects: list[int] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 == self.epochs // 2:
            self.suspects = suspects(self.watch._session)


def trained(case: Case, kind: str, epochs: int, seed: int, root: Path, **options: Any) -> Outcome:
    """Train on a case and return what was found."""
    pl.seed_everything(seed, verbose=False)
    train, val = case.loaders()
    first: dict[str, int] = {}

    def heard(finding: Finding) -> None:
        first.setdefault(finding.rule, finding.epoch)

    watch = Diagnostics([DataMonitor()], sinks=[], strict=True, on_finding=heard, **options)
    half = _HalfTime(watch, epochs)
    module = Net(kind, tuple(case.train[0].shape[1:]), case.classes)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=[watch, half], default_root_dir=str(root), logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, train, val)
    return Outcome(watch.findings, first, half.suspects)
