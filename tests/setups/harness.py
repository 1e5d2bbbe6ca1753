"""One way to train as data, and what a training left behind, so that one with us can be compared with one without."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lightning_diag.reading import Reading
from tests.training import digits

LOSS = ("loss/train",)
GRADIENTS = (*LOSS, "lr", "grad/norm", "grad/parameter_norm", "update/parameter_ratio")


class Augmented(Dataset[Any]):
    """Digits with shifts and noise from all three global generators, so that one number drawn by us shows."""

    def __init__(self, size: int = 96) -> None:
        x, y = digits()
        self.x, self.y = x[:size], y[:size]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        shift = int(torch.randint(-1, 2, ())) + random.randint(0, 1) + int(np.random.randint(0, 2))  # noqa: NPY002
        image = torch.roll(self.x[i].reshape(8, 8), shift, 1) + 0.05 * torch.randn(8, 8)
        return image.reshape(64), self.y[i]


class Endless(IterableDataset[Any]):
    """A stream without a length."""

    def __iter__(self) -> Iterator[Any]:
        x, y = digits()
        while True:
            i = int(torch.randint(0, len(x), ()))
            yield x[i], y[i]


def batches(data: Any = None, size: int = 16, **options: Any) -> DataLoader[Any]:
    """Return a loader of small batches, shuffled unless it is a stream."""
    data = Augmented() if data is None else data
    shuffle = not isinstance(data, IterableDataset)
    return DataLoader(data, batch_size=size, shuffle=shuffle, **options)


def validation() -> DataLoader[Any]:
    """Return a loader over 40 samples that never change."""
    x, y = digits()
    return DataLoader(torch.utils.data.TensorDataset(x[-40:], y[-40:]), batch_size=20)


@dataclass(frozen=True)
class Setup:
    """One way to train.

    Attributes:
        module: makes the user's module.
        options: makes the trainer's arguments (plugins and callbacks can't be shared between trainers).
        train, val: make the loaders.
        steps: optimizer steps as Lightning counts them.
        measured: signals that must be there.
        readings: how many training readings there must be; None = as many as ``steps``.
        slow: compiles, or takes seconds for another reason.
    """

    module: Callable[[], pl.LightningModule]
    options: Callable[[], dict[str, Any]] = dict
    train: Callable[[], Any] = batches
    val: Callable[[], Any] = validation
    steps: int = 14
    measured: tuple[str, ...] = GRADIENTS
    readings: int | None = None
    slow: bool = False


@dataclass(frozen=True)
class Left:
    """What a training left behind: weights, random streams, logged values, the checkpoint without its callbacks."""

    weights: Mapping[str, Tensor]
    streams: tuple[Any, ...]
    logged: Mapping[str, float]
    checkpoint: Mapping[str, Any]


def train(setup: Setup, callbacks: Sequence[Any], root: Path) -> Left:
    """Train quietly on the CPU with fixed seeds."""
    pl.seed_everything(0, verbose=False)
    module = setup.module()
    options = setup.options()
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[*options.pop("callbacks", ()), *callbacks],
        default_root_dir=str(root),
        **{
            "max_steps": setup.steps,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **options,
        },
    )
    trainer.fit(module, setup.train(), setup.val())
    trainer.save_checkpoint(root / "last.ckpt")
    saved = torch.load(root / "last.ckpt", weights_only=True)
    saved["callbacks"] = {k: v for k, v in saved["callbacks"].items() if not k.startswith("Diagnostics")}
    return Left(
        weights=module.state_dict(),
        streams=(torch.get_rng_state(), repr(np.random.get_state()), random.getstate()),  # noqa: NPY002
        logged={k: float(v) for k, v in trainer.callback_metrics.items()},
        checkpoint=saved,
    )


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Return the places where two nested structures are not bit-identical.

    >>> differences({"a": [1, torch.zeros(2)]}, {"a": [1, torch.ones(2)]})
    ['/a/1']
    """
    if isinstance(one, Tensor):
        same = isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [place]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return [f"{place}: {sorted(map(str, one.keys() ^ other.keys()))}"]
        return [d for key in one for d in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{place}/{i}")]
    same = type(one) is type(other) and (one == other or (one != one and other != other))
    return [] if same else [place]


def training(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings of training steps."""
    return [r for r in readings if r.stage == "train"]
