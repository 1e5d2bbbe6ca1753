"""What the trainings share: data, a module with one objective, and a score that says whether it worked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset


def digits() -> tuple[Tensor, Tensor]:
    """1,797 handwritten digits ``(n, 64)`` of 0 to 1 in a fixed shuffled order, and their classes ``(n,)``."""
    images, labels = datasets.load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(7))
    return torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(labels, dtype=torch.long)[order]


def table(name: str) -> tuple[Tensor, Tensor]:
    """A standardized table of scikit-learn ``(n, d)`` in a fixed shuffled order, and its target ``(n,)``."""
    inputs, target = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(7))
    x = torch.tensor(inputs, dtype=torch.float32)[order]
    return (x - x.mean(0)) / x.std(0), torch.tensor(target, dtype=torch.float32)[order]


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes with an activation between each two."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), act()]
    return nn.Sequential(*layers[:-1])


def probe(features: Tensor, labels: Tensor) -> float:
    """Accuracy of a linear classifier of frozen features, trained on all but the last 400."""
    model = LogisticRegression(max_iter=2000).fit(features[:-400].numpy(), labels[:-400].numpy())
    return float(model.score(features[-400:].numpy(), labels[-400:].numpy()))


class Objective(pl.LightningModule):
    """One training that is known to work: ``score`` after it must be at least ``good``.

    Attributes:
        steps, size, rate: optimizer steps, batch size, learning rate of Adam.
        held: samples at the end of the data that validation takes; 0 = no validation.
        good: least score of a run that worked.
    """

    steps: ClassVar[int] = 600
    size: ClassVar[int] = 64
    rate: ClassVar[float] = 1e-3
    held: ClassVar[int] = 400
    good: ClassVar[float]

    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch."""
        raise NotImplementedError

    def score(self) -> float:
        """How well it worked; higher is better."""
        raise NotImplementedError

    def samples(self) -> tuple[Tensor, ...]:
        """All samples, those of validation last."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """As most people write it."""
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """The same on held-out samples."""
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.rate)

    def loaders(self) -> tuple[DataLoader[Any], DataLoader[Any] | None]:
        """Shuffled training batches, and validation batches where some samples are held out."""
        parts = self.samples()
        keep = len(parts[0]) - self.held
        train: Dataset[Any] = TensorDataset(*(p[:keep] for p in parts))
        shuffled = DataLoader(train, batch_size=self.size, shuffle=True, drop_last=True)
        if not self.held:
            return shuffled, None
        return shuffled, DataLoader(TensorDataset(*(p[keep:] for p in parts)), batch_size=200)
