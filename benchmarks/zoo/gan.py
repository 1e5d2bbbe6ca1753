"""The GAN pair: manual optimization, two optimizers, points or small images."""

from __future__ import annotations

from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.data.first import modes
from benchmarks.zoo.modules import optimizer
from benchmarks.zoo.nets.first import mlp
from benchmarks.zoo.nets.previous import critic, drawer
from benchmarks.zoo.nets.report import normed_generator
from benchmarks.zoo.plan import Data, Plan

NOISE = 8


def _likelihood(out: Tensor, real: int) -> Tensor:
    return functional.softplus(-out if real else out).mean()


def _squares(out: Tensor, real: int) -> Tensor:
    return (out - real).square().mean()


def _hinge(out: Tensor, real: int) -> Tensor:
    return functional.relu(1 - out if real else 1 + out).mean()


LOSSES = {"likelihood": _likelihood, "least-squares": _squares, "hinge": _hinge}


class Gan(pl.LightningModule):
    """Generator and discriminator of two hidden layers each, or convolutions; the loss is one of :data:`LOSSES`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.plan = plan
        self.name = plan.arch.get("loss", "likelihood")
        self.loss = LOSSES[self.name]
        self.generator, self.discriminator = _pair(plan)

    def forward(self, z: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.generator(z)
        return out

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """One step."""
        x, _ = batch
        opt_g, opt_d = cast("list[Any]", self.optimizers())
        for _ in range(int(self.plan.gan["d_steps"])):
            fake = self(torch.randn(len(x), NOISE)).detach()
            real_out, fake_out = self.discriminator(x), self.discriminator(fake)
            d_loss = 0.5 * (self.loss(real_out, 1) + self.loss(fake_out, 0))
            opt_d.zero_grad()
            self.manual_backward(d_loss)
            opt_d.step()
        out = self.discriminator(self(torch.randn(len(x), NOISE)))
        g_loss = -out.mean() if self.name == "hinge" else self.loss(out, 1)
        opt_g.zero_grad()
        self.manual_backward(g_loss)
        opt_g.step()
        self.log_dict({"d_loss": d_loss, "g_loss": g_loss}, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """As the plan says."""
        betas = self.plan.betas
        self.plan.betas = (0.5, betas[1])
        pair = [
            optimizer(self.plan, self.generator.parameters(), self.plan.gan["g_lr"]),
            optimizer(self.plan, self.discriminator.parameters(), self.plan.gan["d_lr"]),
        ]
        self.plan.betas = betas
        return pair


def _pair(plan: Plan) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator."""
    kind = plan.arch.get("pair", "points")
    if kind == "images":
        return drawer(NOISE, 16), critic(16)
    if kind == "codes":
        return normed_generator(NOISE, plan.arch["size"], 64), mlp(plan.arch["size"], 1, 64, 2, "leaky")
    size = modes(plan.arch.get("modes", "ring")).shape[1]
    act = "leaky" if plan.arch.get("loss") == "least-squares" else "relu"
    return mlp(NOISE, size, 64, 2), mlp(size, 1, 64, 2, act)


@torch.no_grad()
def modes_covered(generator: nn.Module, centres: Tensor, mode_of: Tensor, radius: float, samples: int = 1000) -> float:
    """Share of the modes that get at least 2 % of the generated points, each within ``radius`` of its nearest centre.

    ``mode_of`` ``(n,)`` says to which mode each of ``centres`` ``(n, d)`` belongs.
    """
    points = generator(torch.randn(samples, NOISE, generator=torch.Generator().manual_seed(0))).flatten(1)
    distance, nearest = torch.cdist(points, centres).min(1)
    hits = torch.bincount(mode_of[nearest[distance < radius]], minlength=int(mode_of.max()) + 1)
    return float((hits >= 0.02 * samples).float().mean())


def covered(plan: Plan, generator: nn.Module, data: Data) -> float:
    """Score of a generator: of digits, a mode is a class, and near as any real one of the test set."""
    if "pair" not in plan.arch:
        centres = modes(plan.arch.get("modes", "ring"))
        return modes_covered(generator, centres, torch.arange(len(centres)), 0.3 if centres.shape[1] == 2 else 0.4)
    real, others = data.test_x.flatten(1), data.train_x.flatten(1)
    radius = torch.cdist(real, others).amin(1).max()
    return modes_covered(generator, others, data.train_y, float(radius))
