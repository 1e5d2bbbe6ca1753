"""A healthy GAN whose two optimizers take turns: at each step half of the parameters say nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.gradient_trainings import parameter_kinds, sampled, signals_after, signals_before
from lightning_diag.reading import Facts, Reading

MODES = 4
NOISE = 8
LR = 2e-3
NAMES = ("discriminator", "generator")


def _ring(n: int) -> Tensor:
    angle = 2 * math.pi * torch.randint(MODES, (n,)) / MODES
    return torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.3 * torch.randn(n, 2)


def _net(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


def _covered(model: nn.ModuleDict) -> float:
    """Share of the modes that more than 5 % of generated points come within 0.5 of."""
    with torch.no_grad():
        points = model["generator"](torch.randn(1000, NOISE))
    angle = 2 * math.pi * torch.arange(MODES) / MODES
    near = torch.cdist(points, 2 * torch.stack([angle.cos(), angle.sin()], 1)) < 0.5
    return float((near.double().mean(0) > 0.05).double().mean())


def _values(model: nn.ModuleDict, turn: int, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Signals of the half that steps; NaN for the other."""
    mine = list(model[NAMES[turn]].parameters())
    before = [p.detach().clone() for p in mine]
    part = signals_before(mine, None)
    optimizer.step()
    part |= signals_after(mine, before, part["weight/parameter_norm"])
    nothing = np.full(len(mine), np.nan)
    return {k: v if np.ndim(v) == 0 else np.concatenate([v, nothing][:: -1 if turn else 1]) for k, v in part.items()}


def train_gan(seed: int, steps: int = 1600) -> tuple[list[Reading], float]:
    """Train and return the readings and the share of modes covered."""
    torch.manual_seed(seed)
    model = nn.ModuleDict({"discriminator": _net(2, 1), "generator": _net(NOISE, 2)})
    optimizers = [torch.optim.Adam(model[name].parameters(), lr=LR, betas=(0.5, 0.999)) for name in NAMES]
    kinds = parameter_kinds(model)
    facts = Facts(
        planned_steps=steps,
        optimizers=("Adam", "Adam"),
        automatic_optimization=False,
        names={"parameter": tuple(kinds)},
        parameter_kind=tuple(kinds.values()),
        parameter_numel=tuple(p.numel() for p in model.parameters()),
        in_optimizer=(True,) * len(kinds),
    )
    readings = []
    for step in range(1, steps + 1):
        turn = (step - 1) % 2
        fake = model["generator"](torch.randn(128, NOISE))
        if turn == 0:
            real_out, fake_out = model["discriminator"](_ring(128)), model["discriminator"](fake.detach())
            loss = 0.5 * (softplus(-real_out).mean() + softplus(fake_out).mean())
        else:
            loss = softplus(-model["discriminator"](fake)).mean()
        optimizers[turn].zero_grad()
        loss.backward()
        values: dict[str, Any] = {"loss/train": np.float64(loss.detach())}
        if sampled(step):
            values |= _values(model, turn, optimizers[turn])
            values["lr"] = np.array([LR, LR])
        else:
            optimizers[turn].step()
        readings.append(Reading(step, 0, values, facts))
    return readings, _covered(model)
