"""Small real trainings in plain torch, measured by the real activation probe, as readings of the pack.

::

    Setup     one training as data: network, optimizer, and what is done to it
    train     Setup, seed -> readings, final score
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, cross_entropy, mse_loss, one_hot

from benchmarks.activation_networks import NETWORKS
from benchmarks.gradient_networks import Data, diabetes, digits, text
from lightning_diag.packet import Packet
from lightning_diag.probes.activation import ActivationProbe
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.reading import Facts, Reading

INTERVAL_STEPS = 2


@dataclass(frozen=True)
class Setup:
    """One training.

    Attributes:
        net: key of ``NETWORKS``; data: ``digits``, ``text``, ``images`` (the target is the image) or ``diabetes``.
        lr: learning rate; optimizer: ``adam`` or ``sgd`` (momentum 0.9); batch: its size; steps: optimizer steps.
        smoothing: of the labels; schedule: (step, steps) -> factor of the learning rate.
        prepare: done to the network before training; on_batch: done to the inputs.
        at: (step, what is done to the network before it).
        decay: L1 penalty of the hidden activations' weights.
    """

    net: str
    data: str = "digits"
    lr: float = 1e-3
    optimizer: str = "adam"
    batch: int = 64
    steps: int = 240
    smoothing: float = 0.0
    schedule: Callable[[int, int], float] | None = None
    prepare: Callable[[nn.Module], None] | None = None
    on_batch: Callable[[Tensor], Tensor] | None = None
    at: tuple[int, Callable[[nn.Module], None]] | None = None
    decay: float = 0.0


def images(seed: int) -> Data:
    """Digits scaled to 0..1 that are their own target."""
    data = digits(seed)
    low, high = data.x.min(), data.x.max()
    x, test = (data.x - low) / (high - low), (data.test_x - low) / (high - low)
    flat = x.flatten(1)
    return Data(x, flat, test, test.flatten(1), float((flat - flat.mean(0)).square().mean()))


DATA: dict[str, Callable[[int], Data]] = {
    "digits": digits,
    "text": text,
    "images": images,
    "diabetes": diabetes,
    "one-hot": digits,
}


def train(setup: Setup, seed: int) -> tuple[list[Reading], float]:
    """Train and return the readings and the final score (accuracy, or 1 - MSE / variance) on held-out data."""
    torch.manual_seed(seed)
    data = DATA[setup.data](seed)
    model = NETWORKS[setup.net]().train()
    if setup.prepare is not None:
        setup.prepare(model)
    readings = _run(setup, model, data, seed)
    model.eval()
    with torch.no_grad():
        return readings, data.score(model(data.test_x))


def _loss(setup: Setup, out: Tensor, y: Tensor) -> Tensor:
    if setup.data == "one-hot":
        return binary_cross_entropy(out, one_hot(y, 10).float())
    if y.is_floating_point():
        return mse_loss(out, y)
    return cross_entropy(out.flatten(0, -2), y.flatten(), label_smoothing=setup.smoothing)


def _run(setup: Setup, model: nn.Module, data: Data, seed: int) -> list[Reading]:
    parameters = list(model.parameters())
    optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters, lr=setup.lr, weight_decay=setup.decay)
    if setup.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=setup.lr, momentum=0.9)
    chance = 0.3251 if setup.data == "one-hot" else data.chance
    facts = Facts(planned_steps=setup.steps, chance_loss=chance, optimizers=(type(optimizer).__name__,))
    probe = ActivationProbe()
    unmeasured = probe.attach(Scene(model, [optimizer], facts))
    facts = replace(facts, names={**probe.facts()["names"]}, unmeasured=unmeasured)
    order = torch.Generator().manual_seed(seed)
    readings: list[Reading] = []
    index: list[Tensor] = []
    for step in range(1, setup.steps + 1):
        if setup.schedule is not None:
            optimizer.param_groups[0]["lr"] = setup.lr * setup.schedule(step, setup.steps)
        if setup.at is not None and setup.at[0] == step:
            setup.at[1](model)
        index = index or list(torch.randperm(len(data.x), generator=order).split(setup.batch))[:-1]
        chosen = index.pop()
        readings.append(_step(setup, model, optimizer, probe, (data.x[chosen], data.y[chosen]), step, facts))
        facts = replace(facts, **dict(probe.learn(readings[-1])))
    probe.detach()
    return readings


def _step(
    setup: Setup, model: nn.Module, optimizer: torch.optim.Optimizer, probe: ActivationProbe,
    batch: tuple[Tensor, Tensor], step: int, facts: Facts,
) -> Reading:  # fmt: skip
    sampled = step % INTERVAL_STEPS == 0
    seen = Batch(batch, step)
    if sampled:
        probe.batch_start(seen)
    x, y = batch
    loss = _loss(setup, model(x if setup.on_batch is None else setup.on_batch(x)), y)
    if sampled:
        probe.loss(seen)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    values: dict[str, Any] = {"loss/train": np.float64(loss.detach())}
    if sampled:
        packet = Packet.pack(step, 0, step, "train", probe.collect())
        values |= packet.unpack(packet.flat.numpy())
        values["lr"] = np.array([optimizer.param_groups[0]["lr"]])
    return Reading(step, step // 20, values, facts, step)
