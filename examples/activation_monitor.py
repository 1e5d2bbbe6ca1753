"""A layer born dead: its biases are so low that no ReLU behind them ever fires, and nothing behind it can learn.

``ActivationMonitor`` alone, for a training whose loss stays at chance.
"""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from lightning_diag import ActivationMonitor
from lightning_diag.demo.data import batches, real_digits


class BornDead(LightningModule):
    """Three layers; someone meant to write ``constant_(weight, 0.25)`` and wrote ``constant_(bias, -25)``."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(128, 128), nn.ReLU(inplace=True))
        self.head = nn.Linear(128, 10)
        nn.init.constant_(self.second[0].bias, -25)

    def forward(self, images):
        """Return logits."""
        return self.head(self.second(self.first(images)))

    def training_step(self, batch, batch_idx):
        """Return the loss."""
        return nn.functional.cross_entropy(self(batch["image"]), batch["label"])

    def configure_optimizers(self):
        """Return Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


monitor = ActivationMonitor()
trainer = Trainer(max_epochs=12, callbacks=[monitor])
trainer.fit(BornDead(), batches(real_digits()["train"], shuffle=True))
for finding in monitor.findings:
    print(finding.severity, finding.rule, finding.where[:3], finding.message)
print(monitor.diagnosis.verdict)
