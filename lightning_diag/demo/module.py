"""A LightningModule as a user writes it: a small convolutional classifier of 8x8 digits. It knows nothing of us."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn


class DigitClassifier(LightningModule):
    """Two convolutions and two linear layers, cross-entropy, Adam; logs loss and accuracy.

    Args:
        lr: learning rate of Adam.
        classes: number of classes.
    """

    def __init__(self, lr: float = 2e-3, classes: int = 10) -> None:
        super().__init__()
        self.lr = lr
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 8, 8) to logits (B, classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def _loss(self, batch: Mapping[str, Tensor], stage: str) -> Tensor:
        logits, label = self(batch["image"]), batch["label"]
        loss = nn.functional.cross_entropy(logits, label)
        self.log(f"{stage}/loss", loss)
        self.log(f"{stage}/accuracy", (logits.argmax(-1) == label).float().mean(), prog_bar=True)
        return loss

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Loss of one training batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log loss and accuracy of one validation batch."""
        self._loss(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
