"""Regressions whose loss is a likelihood, a quantile, a rank or the residual of an equation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.objectives.base import Objective, mlp, table


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's."""
    return float(spearmanr(a.numpy(), b.numpy()).statistic)


class Diabetes(Objective):
    """Base: the diabetes table; its score is the rank correlation of what is predicted with the target."""

    good = 0.55
    held = 120
    size = 32
    steps = 400

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.net = mlp(10, 32, outputs)

    def samples(self) -> tuple[Tensor, ...]:
        x, y = table("diabetes")
        return x, (y - y.mean()) / y.std()

    def score(self) -> float:
        x, y = (part[-120:] for part in self.samples())
        return rank_correlation(self.net(x)[:, 0], y)


class Gaussian(Diabetes):
    """Mean and variance by the Gaussian negative log-likelihood, which may be below zero (Nix & Weigend, 1994)."""

    steps = 150

    def __init__(self) -> None:
        super().__init__(2)

    def loss(self, batch: Any) -> Tensor:
        mean, log_var = self.net(batch[0]).unbind(1)
        return F.gaussian_nll_loss(mean, batch[1], log_var.exp())


class Quantile(Diabetes):
    """Three quantiles by the pinball loss (Koenker & Bassett, 1978)."""

    def __init__(self) -> None:
        super().__init__(3)

    def loss(self, batch: Any) -> Tensor:
        q = torch.tensor([0.5, 0.1, 0.9])
        off = batch[1][:, None] - self.net(batch[0])
        return torch.maximum(q * off, (q - 1) * off).mean()


class Poisson(Diabetes):
    """Counts, by the Poisson negative log-likelihood, whose level says nothing."""

    good = 0.45
    rate = 3e-3

    def samples(self) -> tuple[Tensor, ...]:
        x, y = table("diabetes")
        return x, (y / 20).round()

    def loss(self, batch: Any) -> Tensor:
        return F.poisson_nll_loss(self.net(batch[0])[:, 0], batch[1])


class Survival(Diabetes):
    """Cox's partial likelihood over the batch: a loss of risks that nobody labelled (Katzman et al., 2018)."""

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        risk = -self.net(x)[:, 0]
        order = torch.argsort(y, descending=True)
        return -(risk[order] - torch.logcumsumexp(risk[order], 0)).mean()


class Raw(Objective):
    """House-like prices in thousands, targets not scaled, inputs standardized: Huber loss of large numbers."""

    good = 0.8
    held = 300
    rate = 1e-2
    steps = 600

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(8, 64, 64, 1)

    def samples(self) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed(11)
        x = torch.randn(2000, 8, generator=g)
        y = 200 + 60 * x[:, 0] - 30 * x[:, 1] + 25 * x[:, 2] * x[:, 3] + 20 * torch.randn(2000, generator=g)
        return x, y

    def loss(self, batch: Any) -> Tensor:
        return F.huber_loss(self.net(batch[0])[:, 0], batch[1], delta=10.0)

    def score(self) -> float:
        x, y = (part[-300:] for part in self.samples())
        return rank_correlation(self.net(x)[:, 0], y)


class Equation(Objective):
    """A physics-informed net: the residual of u'' = -u on random points, and two conditions (Raissi et al., 2019)."""

    good = 0.95  # 1 - largest error
    held = 0
    steps = 1500
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(1, 32, 32, 1, act=nn.Tanh)

    def samples(self) -> tuple[Tensor, ...]:
        return (torch.rand(2000, 1, generator=torch.Generator().manual_seed(12)) * math.pi,)

    def loss(self, batch: Any) -> Tensor:
        t = batch[0].requires_grad_()
        u = self.net(t)
        (first,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), t, create_graph=True)
        ends = torch.tensor([[0.0], [math.pi / 2]])
        return (second + u).square().mean() + 10 * F.mse_loss(self.net(ends)[:, 0], torch.tensor([0.0, 1.0]))

    def score(self) -> float:
        t = torch.linspace(0, math.pi, 100)[:, None]
        return 1 - float((self.net(t) - t.sin()).abs().max())


class Forecast(Objective):
    """The next value of a noisy seasonal series from the last 24, a GRU, L1 loss."""

    good = 0.5  # 1 - error over that of repeating the last value

    steps = 500
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 1)

    def samples(self) -> tuple[Tensor, ...]:
        t = np.arange(2600)
        noise = np.random.default_rng(13).normal(0, 0.1, len(t))
        series = torch.tensor(np.sin(t / 3) + 0.5 * np.sin(t / 7.3) + noise, dtype=torch.float32)
        windows = series.unfold(0, 25, 1)
        return windows[:, :24, None], windows[:, 24:]

    def loss(self, batch: Any) -> Tensor:
        return F.l1_loss(self.head(self.rnn(batch[0])[0][:, -1]), batch[1])

    def score(self) -> float:
        x, y = (part[-400:] for part in self.samples())
        return 1 - float(self.loss((x, y))) / float((x[:, -1] - y).abs().mean())
