"""Ways to train that are not one network, one loss, all parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

from benchmarks.objectives.base import Objective, digits, mlp


class Digits(Objective):
    """Base: classes of digits; the score is the accuracy."""

    good = 0.9
    net: nn.Module

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def score(self) -> float:
        x, y = digits()
        return float((self(x[-400:]).argmax(1) == y[-400:]).float().mean())


class LowRank(Digits):
    """A pretrained net is frozen; pairs of low-rank matrices are trained, the second of each from zero (LoRA, 2022)."""

    steps = 400
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(64, 128, 128, 10)
        x, y = digits()
        optimizer = torch.optim.Adam(self.net.parameters(), lr=2e-3)
        for _ in range(60):
            rows = torch.randint(1000, (64,))
            optimizer.zero_grad()
            noisy = x[rows] + 0.3 * torch.randn(64, 64)  # another look
            F.cross_entropy(self.net(noisy), y[rows]).backward()
            optimizer.step()
        self.net.requires_grad_(False)
        linear = [layer for layer in self.net if isinstance(layer, nn.Linear)]
        self.down = nn.ParameterList(torch.randn(4, layer.in_features) / layer.in_features**0.5 for layer in linear)
        self.up = nn.ParameterList(torch.zeros(layer.out_features, 4) for layer in linear)

    def forward(self, x: Tensor) -> Tensor:
        pairs = iter(zip(self.down, self.up, strict=True))
        for layer in self.net:  # type: ignore[attr-defined]
            before, x = x, layer(x)
            if isinstance(layer, nn.Linear):
                down, up = next(pairs)
                x = x + F.linear(F.linear(before, down), up)
        return x


class Probe(Digits):
    """Only a new head on frozen random features is trained."""

    good = 0.85
    steps = 500
    rate = 1e-2

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(64, 256, 10)
        self.net[0].requires_grad_(False)


class Experts(Digits):
    """A mixture of four experts, one a sample, with a loss that balances them (Fedus et al., 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(64, 4), nn.ModuleList(mlp(64, 64, 10) for _ in range(4))

    def routed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the balancing loss."""
        shares = self.gate(x).softmax(1)
        weight, chosen = shares.max(1)
        out = torch.zeros(len(x), 10)
        for k, expert in enumerate(self.experts):
            rows = chosen == k
            if rows.any():
                out = out.index_put((rows.nonzero()[:, 0],), weight[rows, None] * expert(x[rows]))
        used = F.one_hot(chosen, 4).float().mean(0)
        return out, 4 * (used * shares.mean(0)).sum()

    def forward(self, x: Tensor) -> Tensor:
        return self.routed(x)[0]

    def loss(self, batch: Any) -> Tensor:
        out, balance = self.routed(batch[0])
        return F.cross_entropy(out, batch[1]) + 0.05 * balance


class TwoTasks(Digits):
    """Class and ink with learned weights of the two losses, which may go below zero (Kendall et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.ink = mlp(64, 128, 64), nn.Linear(64, 10), nn.Linear(64, 1)
        self.log_var = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.kind(self.body(x).relu())
        return out

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        h = self.body(x).relu()
        parts = torch.stack((F.cross_entropy(self.kind(h), y), F.mse_loss(self.ink(h)[:, 0], x.mean(1))))
        return ((-self.log_var).exp() * parts + 0.5 * self.log_var).sum()


class MetaLearning(Objective):
    """First-order MAML on sines of random phase: an inner step, then the loss of other points (Finn et al., 2017)."""

    good = 0.6  # 1 - error after one step over the variance
    held = 0
    steps = 1500
    size = 16
    rate = 1e-3

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(1, 40, 40, 1)

    def samples(self) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed(14)
        return torch.rand(4000, 1, generator=g) * 3.1, torch.rand(4000, 20, generator=g) * 10 - 5

    def loss(self, batch: Any) -> Tensor:
        losses = []
        for phase, x in zip(*batch, strict=True):
            weights = dict(self.net.named_parameters())
            x = x[:, None]
            y = torch.sin(x + phase)
            for _ in range(2):
                inner = F.mse_loss(functional_call(self.net, weights, (x[:10],)), y[:10])
                with torch.enable_grad():
                    slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=self.training)
                weights = {k: w - 0.05 * s for (k, w), s in zip(weights.items(), slopes, strict=True)}
            losses.append(F.mse_loss(functional_call(self.net, weights, (x[10:],)), y[10:]))
        return torch.stack(losses).mean()

    def score(self) -> float:
        with torch.enable_grad():
            return 1 - float(self.loss(tuple(part[-100:] for part in self.samples()))) / 0.5


class Averaged(Digits):
    """An averaged copy of the weights, taken along by hand, is what is validated (Polyak & Juditsky, 1992)."""

    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.fast, self.net = mlp(64, 128, 10), mlp(64, 128, 10)
        self.net.requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self.fast(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            for old, new in zip(self.net.parameters(), self.fast.parameters(), strict=True):
                old.lerp_(new, 0.02)


class Sharpness(Digits):
    """Sharpness-aware minimization, two passes a step, driven by hand (Foret et al., 2021)."""

    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = mlp(64, 128, 10)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizer = self.optimizers()
        loss = self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        slopes = [p.grad.clone() for p in self.net.parameters() if p.grad is not None]
        norm = torch.stack([s.norm() for s in slopes]).norm() + 1e-12
        with torch.no_grad():
            for p, s in zip(self.net.parameters(), slopes, strict=True):
                p.add_(s, alpha=0.05 / float(norm))
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        with torch.no_grad():
            for p, s in zip(self.net.parameters(), slopes, strict=True):
                p.sub_(s, alpha=0.05 / float(norm))
        optimizer.step()
        return loss
