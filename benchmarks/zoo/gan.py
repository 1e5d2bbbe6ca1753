"""The GAN pair: manual optimization, two optimizers, 2-D points."""

from __future__ import annotations

from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.modules import optimizer
from benchmarks.zoo.nets import mlp
from benchmarks.zoo.plan import Plan

NOISE = 8


class Gan(pl.LightningModule):
    """Generator and discriminator of two hidden layers each, non-saturating loss."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.plan = plan
        self.generator = mlp(NOISE, 2, 64, 2)
        self.discriminator = mlp(2, 1, 64, 2)

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
            d_loss = 0.5 * (functional.softplus(-real_out).mean() + functional.softplus(fake_out).mean())
            opt_d.zero_grad()
            self.manual_backward(d_loss)
            opt_d.step()
        g_loss = functional.softplus(-self.discriminator(self(torch.randn(len(x), NOISE)))).mean()
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


@torch.no_grad()
def modes_covered(generator: nn.Module, centres: Tensor, samples: int = 1000) -> float:
    """Share of the modes that get at least 2 % of the generated points within 0.3 of their centre."""
    points = generator(torch.randn(samples, NOISE, generator=torch.Generator().manual_seed(0)))
    distance = torch.cdist(points, centres)
    hits = (distance < 0.3).float().mean(0)
    return float((hits >= 0.02).float().mean())
