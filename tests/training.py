"""Small real trainings on scikit-learn's handwritten digits, shared by end-to-end tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

TRAIN = 1500


def digits() -> tuple[Tensor, Tensor]:
    """Return images ``(1797, 64)`` in 0..1 and labels ``(1797,)``."""
    data = load_digits()
    return torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)


def loader(*, train: bool = True, batch_size: int = 64, size: int | None = None) -> DataLoader[Any]:
    """Return a loader over the training or the validation part."""
    x, y = digits()
    part = slice(0, size or TRAIN) if train else slice(TRAIN, None)
    return DataLoader(TensorDataset(x[part], y[part]), batch_size=batch_size, shuffle=train)


class Classifier(pl.LightningModule):
    """An ordinary classifier that returns only a loss and knows nothing of us."""

    def __init__(self, lr: float = 1e-3, dropout: float = 0.2, hidden: int = 64, smoothing: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 10))
        self.lr, self.smoothing = lr, smoothing

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.cross_entropy(self.net(x), y, label_smoothing=self.smoothing)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def fit(
    module: pl.LightningModule,
    callbacks: Sequence[Any],
    root: Path,
    *,
    steps: int = 60,
    seed: int = 0,
    train: Any = None,
    val: Any = None,
    ckpt_path: str | None = None,
    **trainer: Any,
) -> pl.Trainer:
    """Train quietly on the CPU; returns the trainer."""
    pl.seed_everything(seed, verbose=False)
    made = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        callbacks=list(callbacks),
        default_root_dir=str(root),
        **{
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **trainer,
        },
    )
    made.fit(
        module, loader() if train is None else train, loader(train=False) if val is None else val, ckpt_path=ckpt_path
    )
    return made
