"""Modules as people write them, each small and with its own way to train."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from tests.setups.harness import Augmented


class Plain(pl.LightningModule):
    """A classifier with dropout that logs its losses."""

    def __init__(self, net: nn.Module | None = None, lr: float = 1e-2) -> None:
        super().__init__()
        self.net = net or nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out

    def unpacked(self, batch: Any) -> tuple[Tensor, Tensor]:
        x, y = batch
        return x, y

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = self.unpacked(batch)
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        self.log("val_loss", F.cross_entropy(self(x), y))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.lr)


class Fused(Plain):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)


class Lbfgs(Plain):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


class NoOptimizer(Plain):
    def configure_optimizers(self) -> Any:
        return None


class Remembering(nn.Module):
    """A network with a memory of its own calls: numbers, a list, a buffer, a random generator, written weights."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.bins = nn.Embedding(32, 4, max_norm=0.5)  # the forward pass writes its weights
        self.layer, self.head = nn.Linear(64, 12), nn.Linear(16, 10)
        self.register_buffer("count", torch.zeros(()))
        self.calls, self.seen = 0, [0.0]
        self.rng = np.random.default_rng(0)
        self.layer.register_forward_hook(self._heard)
        self.heard = 0

    def _heard(self, *_: Any) -> None:
        self.heard += 1

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.count += 1
        self.seen.append(float(self.rng.normal()))
        noise = float(torch.rand(())) + random.random() + self.seen[-1]
        bins = self.bins((x.mean(1) * 31).clamp(0, 31).long())
        out: Tensor = self.head(torch.cat([self.layer(x) + 0.01 * noise, bins], 1))
        return out


class Remembers(Plain):
    """Logs what its network remembers."""

    def __init__(self) -> None:
        super().__init__(Remembering())

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        net: Any = self.net
        self.log_dict({"calls": float(net.calls), "heard": float(net.heard), "seen": sum(net.seen), "n": len(net.seen)})
        return loss


class Scheduled(Plain):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2), "interval": "step"}]


class Skips(Plain):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx % 2 else super().training_step(batch, batch_idx)


class Two(Plain):
    """Manual optimization: two optimizers, clipped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            loss = F.cross_entropy(self(x), y)
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(optimizer, 0.5, "norm")
            optimizer.step()

    def configure_optimizers(self) -> Any:
        first, last = self.net[0], self.net[3]  # type: ignore[index]
        return [torch.optim.Adam(first.parameters(), 1e-3), torch.optim.SGD(last.parameters(), 1e-2)]


class ManualWindow(Plain):
    """Manual optimization that accumulates two batches a step."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        x, y = batch
        self.manual_backward(F.cross_entropy(self(x), y) / 2)
        if batch_idx % 2:
            optimizer.step()
            optimizer.zero_grad()


class Gan(pl.LightningModule):
    """A pair with ``toggle_optimizer``: while one is trained the other's gradients are still there, stale."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 64))
        self.discriminator = nn.Sequential(nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, _ = batch
        d, g = self.optimizers()  # type: ignore[attr-defined]
        fake = self.generator(torch.randn(len(x), 8))
        for optimizer, losses in ((d, ((x, 1.0), (fake.detach(), 0.0))), (g, ((fake, 1.0),))):
            self.toggle_optimizer(optimizer)
            loss = torch.stack([self._judged(image, label) for image, label in losses]).mean()
            self.manual_backward(loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=optimizer is d)
            self.untoggle_optimizer(optimizer)

    def _judged(self, image: Tensor, label: float) -> Tensor:
        out = self.discriminator(image)
        return F.binary_cross_entropy_with_logits(out, torch.full_like(out, label))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_judged", self.discriminator(batch[0]).mean())

    def configure_optimizers(self) -> Any:
        return [
            torch.optim.Adam(self.discriminator.parameters(), 1e-3, betas=(0.5, 0.999)),
            torch.optim.Adam(self.generator.parameters(), 1e-3, betas=(0.5, 0.999)),
        ]


def convolutional() -> nn.Module:
    """A network with batch norm and operations in place."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


class InPlace(nn.Module):
    """Changes a layer's output in place, outside any module: backward hooks on that layer would kill the run."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h += 1
        h.relu_()
        out: Tensor = self.second(h)
        return out.mul_(2)


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.body = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_() if self.reentrant else x
        out: Tensor = self.head(checkpoint(self.body, x, use_reentrant=self.reentrant))
        return out


class Adapter(nn.Module):
    """A frozen layer with a trained low-rank part beside it."""

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.up(self.down(x))
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(64, 64)
        self.outside = nn.Linear(64, 64)
        self.outside.weight = self.inside.weight
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.outside(torch.tanh(self.inside(x)))))
        return out


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM | nn.GRU] = nn.LSTM) -> None:
        super().__init__()
        self.cells = kind(8, 12, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.cells(x.reshape(-1, 8, 8))[0][:, -1])
        return out


class FrozenBody(Plain):
    """A backbone that is frozen, with its batch norm kept in eval mode."""

    def __init__(self) -> None:
        super().__init__(convolutional())
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name.startswith("6."))

    def on_train_epoch_start(self) -> None:
        self.net[2].eval()  # type: ignore[index]


class Compiled(Plain):
    """Its network is compiled before training, as Lightning allows."""

    def __init__(self, net: nn.Module | None = None, *, in_place: bool = False) -> None:
        super().__init__(net)
        if in_place:
            self.net.compile(backend="aot_eager")
        else:
            self.net = torch.compile(self.net, backend="aot_eager")  # type: ignore[assignment]


class Pair(NamedTuple):
    """A batch with names, and something in it that is no tensor."""

    image: Tensor
    label: Tensor
    note: object


class Marked(Tensor):
    """A tensor of a class of its own."""


class Batches:
    """A loader that packs batches in its own way; not a ``DataLoader``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.loader = DataLoader(Augmented(), batch_size=16, shuffle=True)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for x, y in self.loader:
            yield self.packed(x, y)

    def packed(self, x: Tensor, y: Tensor) -> Any:
        return {  # type: ignore[no-untyped-call]
            "dict": lambda: {"image": x, "label": y, "note": "text", "none": None},
            "named tuple": lambda: Pair(x, y, object()),
            "(dict, tuple)": lambda: ({"image": x}, (y, ["text"])),
            "mapping of its own": lambda: Bag(image=x, label=y),
            "tensor subclass": lambda: (x.as_subclass(Marked), y.as_subclass(Marked)),
        }[self.kind]()


class Bag:
    """Like a TensorDict: it answers to keys and to ``to``, and is neither dict nor tuple."""

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors = tensors

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key]

    def __len__(self) -> int:
        return len(self.tensors["image"])

    def __bool__(self) -> bool:
        raise RuntimeError("the truth of a bag is ambiguous")

    def to(self, *args: Any, **kwargs: Any) -> Bag:
        return Bag(**{k: v.to(*args, **kwargs) for k, v in self.tensors.items()})


class Unpacks(Plain):
    """Takes apart what :class:`Batches` packs."""

    def unpacked(self, batch: Any) -> tuple[Tensor, Tensor]:
        if isinstance(batch, Pair):
            return batch.image, batch.label
        if isinstance(batch, (dict, Bag)):
            return batch["image"], batch["label"]
        x, y = batch
        return (x["image"], y[0]) if isinstance(x, dict) else (x, y)
