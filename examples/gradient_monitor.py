"""A net too deep for its activation: the gradient is gone before it reaches the first layers.

``GradientMonitor`` alone, for a training whose loss doesn't move.
"""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from lightning_diag import GradientMonitor
from lightning_diag.demo.data import batches, real_digits


class DeepSigmoid(LightningModule):
    """Twelve sigmoid layers without normalization or skip connections."""

    def __init__(self):
        super().__init__()
        layers = [nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid()]
        for _ in range(11):
            layers += [nn.Linear(64, 64), nn.Sigmoid()]
        self.net = nn.Sequential(*layers, nn.Linear(64, 10))

    def forward(self, images):
        """Return logits."""
        return self.net(images)

    def training_step(self, batch, batch_idx):
        """Return the loss."""
        return nn.functional.cross_entropy(self(batch["image"]), batch["label"])

    def configure_optimizers(self):
        """Return Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


monitor = GradientMonitor()
trainer = Trainer(max_epochs=12, callbacks=[monitor])
trainer.fit(DeepSigmoid(), batches(real_digits()["train"], shuffle=True))
for finding in monitor.findings:
    print(finding.severity, finding.rule, finding.where[:3], finding.message)
print(monitor.diagnosis.verdict)
