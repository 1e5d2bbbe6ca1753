"""Models of the data: what is learned is a distribution, and the loss has no chance level of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.objectives.base import Objective, digits, mlp, probe


class Vae(Objective):
    """Variational autoencoder of digits, Bernoulli likelihood summed over pixels (Kingma & Welling, 2014)."""

    good = 0.8  # accuracy of a linear classifier of the means

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(64, 128, 2 * 8), mlp(8, 128, 64)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, _ = batch
        mean, log_var = self.encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        nll = F.binary_cross_entropy_with_logits(self.decoder(code), x, reduction="none").sum(1).mean()
        return nll - 0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()

    def score(self) -> float:
        x, y = digits()
        return probe(self.encoder(x)[:, :8], y)


class Diffusion(Objective):
    """Denoising diffusion of digits: predicts the noise at a random time (Ho et al., 2020)."""

    good = 0.25  # share of the noise's variance that is explained
    steps = 800

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(64 + 16, 256, 256, 64, act=nn.SiLU)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def noised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted noise, and the true one."""
        t = torch.rand(len(x), 1)
        keep = torch.cos(0.5 * math.pi * t) ** 2
        noise = torch.randn_like(x)
        angles = t * 2 ** torch.arange(8) * math.pi
        inputs = torch.cat((keep.sqrt() * (2 * x - 1) + (1 - keep).sqrt() * noise, angles.sin(), angles.cos()), 1)
        return self.net(inputs), noise

    def loss(self, batch: Any) -> Tensor:
        found, noise = self.noised(batch[0])
        return F.mse_loss(found, noise)

    def score(self) -> float:
        found, noise = self.noised(digits()[0][-400:])
        return 1 - float(F.mse_loss(found, noise))


class Flow(Objective):
    """RealNVP of two moons: a negative log-likelihood that may go below zero (Dinh et al., 2017)."""

    good = -2.2  # log-likelihood a point; a Gaussian has -2.8
    steps = 1000
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(1, 32, 2, act=nn.Tanh) for _ in range(6))

    def samples(self) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed(3)
        angle, side = torch.rand(3000, generator=g) * math.pi, torch.rand(3000, generator=g) < 0.5
        x = torch.where(side, angle.cos(), 1 - angle.cos())
        y = torch.where(side, angle.sin(), 0.5 - angle.sin())
        points = torch.stack((x, y), 1) + 0.05 * torch.randn(3000, 2, generator=g)
        return ((points - points.mean(0)) / points.std(0),)

    def loss(self, batch: Any) -> Tensor:
        (x,) = batch
        log_det = torch.zeros(len(x))
        for net in self.nets:
            a, b = x[:, :1], x[:, 1:]
            scale, shift = net(a).chunk(2, 1)
            scale = scale.tanh()
            x = torch.cat((b * scale.exp() + shift, a), 1)
            log_det = log_det + scale[:, 0]
        return (0.5 * (x**2).sum(1) + math.log(2 * math.pi) - log_det).mean()

    def score(self) -> float:
        return -float(self.loss((self.samples()[0][-400:],)))


class MaskedPixels(Objective):
    """Masked autoencoder: half of the pixels are hidden, the loss is on those (He et al., 2022)."""

    good = 0.4  # share of the hidden pixels' variance that is explained

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(128, 256, 64, act=nn.GELU)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, _ = batch
        hidden = (torch.rand_like(x) < 0.5).float()
        found = self.net(torch.cat((x * (1 - hidden), hidden), 1))
        return ((found - x) ** 2 * hidden).sum() / hidden.sum()

    def score(self) -> float:
        x = digits()[0][-400:]
        return 1 - float(self.loss((x, None))) / float(x.var(0).mean())


class Quantized(Objective):
    """Vector-quantized autoencoder, straight-through gradients, commitment loss (van den Oord et al., 2017)."""

    good = 0.5  # share of the pixels' variance that is explained

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(64, 128, 8 * 4), mlp(8 * 4, 128, 64)
        self.book = nn.Parameter(torch.randn(32, 4))

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error of the pixels, and the loss of the code book."""
        code = self.encoder(x).view(len(x), 8, 4)
        near = self.book[torch.cdist(code, self.book[None]).argmin(2)]
        through = code + (near - code).detach()
        book = F.mse_loss(near, code.detach()) + 0.25 * F.mse_loss(code, near.detach())
        return F.mse_loss(self.decoder(through.flatten(1)), x), book

    def loss(self, batch: Any) -> Tensor:
        pixels, book = self.parts(batch[0])
        return pixels + 0.1 * book

    def score(self) -> float:
        x = digits()[0][-400:]
        return 1 - float(self.parts(x)[0]) / float(x.var(0).mean())


class Energy(Objective):
    """Denoising score matching at one noise level (Vincent, 2011): a loss with a high floor of noise."""

    good = 0.2  # share of the noise's variance that is explained

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(64, 256, 64, act=nn.Softplus)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, _ = batch
        noise = torch.randn_like(x)
        return 0.5 * ((self.net(x + 0.3 * noise) + noise) ** 2).sum(1).mean()

    def score(self) -> float:
        return 1 - float(self.loss((digits()[0][-400:], None))) / 32
