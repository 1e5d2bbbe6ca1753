"""A tenth of the labels is wrong and five validation samples stand in the training set; no loss curve shows either.

``DataMonitor`` alone; then the samples with suspicious labels are found again in the data set by their content.
"""

import csv

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import DataMonitor


class Classifier(LightningModule):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch, batch_idx):
        """Return the loss."""
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def validation_step(self, batch, batch_idx):
        """Log the loss."""
        images, labels = batch
        self.log("val_loss", nn.functional.cross_entropy(self.net(images), labels))

    def configure_optimizers(self):
        """Return Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


digits = load_digits()
images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
val_images, val_labels = images[1500:], labels[1500:]
train_images = torch.cat([images[:1500], val_images[:5]])  # a split gone wrong
train_labels = torch.cat([labels[:1500], val_labels[:5]])
train_labels[::10] = (train_labels[::10] + 3) % 10  # an annotator gone wrong

monitor = DataMonitor()
trainer = Trainer(max_epochs=20, callbacks=[monitor])
trainer.fit(
    Classifier(),
    DataLoader(TensorDataset(train_images, train_labels), 64, shuffle=True),
    DataLoader(TensorDataset(val_images, val_labels), 64),
)
for finding in monitor.findings:
    print(f"{finding.severity}: {finding.rule} {', '.join(finding.where[:3])}: {finding.message}")

place = {key: at for at, key in enumerate(DataMonitor.content_keys(train_images))}
table = monitor.run_dir / "suspicious_labels.csv"
if table.exists():
    with table.open() as file:
        suspects = [place[row["content_key"]] for row in csv.DictReader(file)][:50]
    print(f"{sum(at % 10 == 0 for at in suspects)} of the {len(suspects)} most suspicious labels are wrong indeed")
