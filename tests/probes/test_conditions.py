"""Does validation ask the network as training does? Trainings that do, and all that don't."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lightning_diag import DataMonitor, Diagnostics, MemorySink
from tests.training import Classifier, fit, loader


class Plain(Classifier):
    """Calls the network, and loss modules of its own."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.loss, self.val_loss = nn.CrossEntropyLoss(), nn.CrossEntropyLoss()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = self.changed(batch)
        return self.loss(self.net(x.view(len(x), -1)), y)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", self.val_loss(self.asked()(batch[0]), batch[1]))

    def changed(self, batch: Any) -> Any:
        return batch

    def asked(self) -> nn.Module:
        return self.net


class Noisy(Plain):
    def changed(self, batch: Any) -> Any:
        return batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1]


class InPlace(Plain):
    def changed(self, batch: Any) -> Any:
        batch[0].mul_(1.1)
        return batch


class Averaged(Plain):
    """Validates an average that is kept beside the network."""

    def __init__(self) -> None:
        super().__init__()
        self.average = copy.deepcopy(self.net)

    def asked(self) -> nn.Module:
        return self.average


class Swapped(Plain):
    """Exchanges the weights during each validation batch, as ``with average.applied():`` does."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        kept = [p.detach().clone() for p in self.parameters()]
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(0.9)
            super().validation_step(batch, batch_idx)
            for p, old in zip(self.parameters(), kept, strict=True):
                p.copy_(old)


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(len(x), 1) > 0.1) if self.training else x


class Random(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.net.insert(1, DropPath())


class Scaled(Plain):
    """The same in both steps, which nobody can tell from an augmentation."""

    def changed(self, batch: Any) -> Any:
        return batch[0] * 2, batch[1]

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", F.cross_entropy(self.net(batch[0] * 2), batch[1]))


def alike(module: pl.LightningModule, root: Path) -> list[float]:
    """What was said at each of two passes."""
    memory = MemorySink()
    fit(
        module,
        [Diagnostics([DataMonitor()], sinks=[memory], strict=True, every_n_steps=2)],
        root,
        steps=-1,
        max_epochs=2,
        train=loader(size=320),
        val=loader(train=False),
        num_sanity_val_steps=1,
    )
    return [float(r.values["val/alike"]) for r in memory.readings if "val/alike" in r.values]


def test_plain_steps_are_alike(tmp_path: Path) -> None:
    assert alike(Plain(), tmp_path) == [1.0, 1.0]


@pytest.mark.parametrize("kind", [Noisy, InPlace, Averaged, Swapped, Random, Scaled])
def test_what_differs_is_told(kind: type[Plain], tmp_path: Path) -> None:
    assert alike(kind(), tmp_path) == [0.0, 0.0]
