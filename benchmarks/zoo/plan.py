"""One training as data: sizes, optimizer, and the places where an operator may cut in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

SPLITS = ("train", "val", "test")
SHARES = ("classification", "multi-label", "segmentation", "gan")  # kinds whose score goes from 0 to 1


@dataclass
class Data:
    """Three splits. ``train`` is what an operator corrupts; the harm of a run is measured on clean ``val`` + ``test``.

    Shapes: x ``(n, ...)``; y ``(n,)`` classes, ``(n, t)`` next characters, ``(n, h, w)`` classes of pixels or
    ``(n, d)`` targets (of several labels: 0 or 1). ``val_y`` may be corrupted too (what the user sees);
    ``test_*`` never are, except by transforms of the input that hit every split.
    """

    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def map_inputs(self, change: Callable[[Tensor], Tensor], splits: tuple[str, ...] = SPLITS) -> None:
        """Apply ``change`` to the inputs of these splits."""
        for split in splits:
            setattr(self, f"{split}_x", change(getattr(self, f"{split}_x")))

    def keep(self, index: Tensor) -> None:
        """Keep only these training samples."""
        self.train_x, self.train_y = self.train_x[index], self.train_y[index]


OnData = Callable[[Data, torch.Generator], None]
OnNet = Callable[[nn.Module], None]
OnBatch = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


@dataclass
class Plan:
    """What to train and how; operators edit it in place before anything is built.

    Attributes:
        task: name of the task.
        kind: ``classification``, ``multi-label``, ``segmentation``, ``language-model``, ``regression``, ``autoencoder``
            or ``gan``.
        steps: optimizer steps.
        loss: key of :data:`benchmarks.zoo.modules.LOSSES`.
        arch: arguments of the network's builder.
        schedule: ``(step, steps) -> factor`` on the learning rate, None for a constant one.
        on_data: called with the data and a seeded generator.
        on_net: called with the built network.
        on_batch: called with x, y and the global step of each training batch.
        on_gradient: applied to each parameter's gradient as it is computed.
        untrained: names of parameters that are not given to the optimizer.
        zero_grad: False leaves gradients of earlier steps in place.
        gan: GAN only: factors ``d_lr``, ``g_lr`` and ``d_steps``.
        where: names of the parameters, modules or classes at fault; empty = whole run.
        onset: share of the run after which the fault is there.
        pretrain: steps of training before the run that is watched (fine-tuning; the run then has a tenth of the rate).
        resume_at: share of the run after which training stops and goes on from its checkpoint; None = never.
        domains: names of the domains of training and validation data, as a user declares them; empty = not told.
        class_weights: of a classification's loss; empty = all classes count alike.
    """

    task: str
    kind: str
    steps: int
    lr: float
    batch_size: int = 32
    optimizer: str = "adam"
    weight_decay: float = 0.0
    eps: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)
    loss: str = "cross-entropy"
    clip: float | None = None
    accumulate: int = 1
    precision: Any = "32-true"
    shuffle: bool = True
    arch: dict[str, Any] = field(default_factory=dict)
    schedule: Callable[[int, int], float] | None = None
    on_data: list[OnData] = field(default_factory=list)
    on_net: list[OnNet] = field(default_factory=list)
    on_batch: list[OnBatch] = field(default_factory=list)
    on_gradient: Callable[[Tensor], Tensor] | None = None
    untrained: tuple[str, ...] = ()
    zero_grad: bool = True
    gan: dict[str, float] = field(default_factory=dict)
    where: tuple[str, ...] = ()
    onset: float = 0.0
    resume_at: float | None = None
    pretrain: int = 0
    domains: tuple[str, ...] = field(default=(), metadata={"later": True})
    class_weights: tuple[float, ...] = field(default=(), metadata={"later": True})

    @property
    def onset_step(self) -> int:
        """Last step before the fault is there (0 = from the start)."""
        return round(self.onset * self.steps)

    def fingerprint(self) -> str:
        """Short hash of all settings (of functions only how many): a stored run of another one is stale.

        Fields added later count only where they are set: they leave stored runs valid.
        """
        plain = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.metadata.get("later") and not value:
                continue
            if isinstance(value, list):
                value = len(value)
            plain[entry.name] = callable(value) if callable(value) else value
        return hashlib.sha256(repr(plain).encode()).hexdigest()[:12]


def warm_cosine(step: int, steps: int) -> float:
    """A schedule: warm-up over 5 %, then cosine to zero."""
    return min((step + 1) / (0.05 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))
