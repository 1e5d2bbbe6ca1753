"""Networks and data of the gradient rules' trainings: what a user would write, small enough for a second a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

CHARACTERS = 27
CHUNK = 16


@dataclass
class Data:
    """Training and test set, the loss of the best constant predictor, and the score of outputs on the test set."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    chance: float

    def score(self, out: Tensor) -> float:
        """Accuracy, or 1 - MSE / variance for a continuous target; 0 when the output is not finite."""
        if not bool(torch.isfinite(out).all()):
            return 0.0
        if self.test_y.is_floating_point():
            return max(0.0, 1.0 - float(((out - self.test_y) ** 2).mean()) / float(self.test_y.var()))
        return float((out.argmax(-1) == self.test_y).double().mean())


def _entropy(y: Tensor) -> float:
    share = torch.bincount(y.flatten()).double() / y.numel()
    share = share[share > 0]
    return float(-(share * share.log()).sum())


def digits(seed: int) -> Data:
    """1797 images of 8x8, rows kept as (8, 8), standardised; 500 for the test."""
    raw, target = load_digits(return_X_y=True)
    x = torch.tensor((raw - raw.mean()) / raw.std(), dtype=torch.float32).view(-1, 8, 8)
    y = torch.tensor(target, dtype=torch.long)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    test, train = order[:500], order[500:]
    return Data(x[train], y[train], x[test], y[test], _entropy(y[train]))


def diabetes(seed: int) -> Data:
    """442 patients, 10 features; the target as it comes (mean 152, sd 77), so that the first loss is 5 times chance."""
    raw, target = load_diabetes(return_X_y=True, scaled=True)
    x = torch.tensor(raw * math.sqrt(len(raw)), dtype=torch.float32)
    y = torch.tensor(target, dtype=torch.float32).view(-1, 1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    test, train = order[:100], order[100:]
    return Data(x[train], y[train], x[test], y[test], float(y[train].var()))


def text(seed: int) -> Data:
    """Characters of a fixed source that depends on the last two: 1500 chunks of 16, target is the next one."""
    rng = np.random.default_rng(7)
    table = rng.dirichlet(np.full(CHARACTERS, 0.05), size=(3, CHARACTERS)).cumsum(-1)
    rng = np.random.default_rng(seed)
    stream = [0, 1]
    for draw in rng.random((CHUNK + 1) * 1800):
        row = table[stream[-2] % 3, stream[-1]]
        stream.append(int(min(np.searchsorted(row, draw), CHARACTERS - 1)))
    chunks = torch.tensor(stream[: (CHUNK + 1) * 1800]).view(-1, CHUNK + 1)
    x, y = chunks[:, :-1], chunks[:, 1:]
    return Data(x[:1500], y[:1500], x[1500:], y[1500:], _entropy(y[:1500]))


class MLP(nn.Sequential):
    """Plain layers; ``act`` after each but the last."""

    def __init__(self, sizes: list[int], act: type[nn.Module] = nn.ReLU, he: bool = False, batch_norm: bool = False,
                 dropout: float = 0.0) -> None:  # fmt: skip
        layers: list[nn.Module] = [nn.Flatten()]
        for i, (a, b) in enumerate(pairwise(sizes)):
            layer = nn.Linear(a, b)
            if he:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
            layers.append(layer)
            if i < len(sizes) - 2:
                layers += [nn.BatchNorm1d(b)] if batch_norm else []
                layers.append(act())
                layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)


class CNN(nn.Module):
    """Two or more convolutions, pooling, head."""

    def __init__(self, depth: int = 2, norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for i in range(depth):
            layers.append(nn.Conv2d(width, 16, 3, padding=1))
            layers += [nn.BatchNorm2d(16)] if norm else []
            layers.append(nn.ReLU())
            layers += [nn.MaxPool2d(2)] if i < 2 else []
            width = 16
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        out: Tensor = self.head(self.body(x.unsqueeze(1)).flatten(1))
        return out


class ResidualMLP(nn.Module):
    """8 pre-LayerNorm residual blocks; ``gate`` starts every block at zero as ReZero and LoRA do."""

    def __init__(self, blocks: int = 8, gate: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 64)
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(blocks))
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(blocks))
        self.gates = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(blocks)) if gate else None
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        h = self.stem(x.flatten(1))
        for i, (norm, block) in enumerate(zip(self.norms, self.blocks, strict=True)):
            branch = torch.relu(block(norm(h)))
            h = h + (branch if self.gates is None else self.gates[i] * branch)
        out: Tensor = self.head(h)
        return out


class LSTM(nn.Module):
    """An LSTM over the 8 rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(8, 64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        out: Tensor = self.head(self.cell(x)[0][:, -1])
        return out


class Transformer(nn.Module):
    """Two pre-norm blocks over characters, the embedding tied to the head."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.token = nn.Embedding(CHARACTERS, width)
        self.place = nn.Embedding(CHUNK, width)
        nn.init.normal_(self.token.weight, std=width**-0.5)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CHUNK))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        h = self.token(x) + self.place.weight
        for block in self.blocks:
            h = block(h, src_mask=self.mask)
        out: Tensor = self.norm(h) @ self.token.weight.T
        return out


class Spare(MLP):
    """An MLP with a head that is never called, as published models with optional heads have."""

    def __init__(self) -> None:
        super().__init__([64, 128, 128, 10])
        self.spare = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        for layer in list(self)[:-1]:
            x = layer(x)
        return x


class Experts(nn.Module):
    """Four experts behind a hard gate on the pixels: some batches leave an expert without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(MLP([64, 64, 10]) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        chosen = (x.flatten(1)[:, 20:24].argmax(-1) == 3).long() + 2 * (x.flatten(1)[:, 36] > 1).long()
        out = torch.zeros(len(x), 10)
        for i, expert in enumerate(self.experts):
            mine = (chosen == i).nonzero().flatten()
            if len(mine) > 12:
                out = out.index_add(0, mine, expert(x[mine]))
        return out


WIDE = [64, 128, 128, 10]
DEEP = [64] * 11 + [10]
DATA: dict[str, Callable[[int], Data]] = {"digits": digits, "diabetes": diabetes, "text": text}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(WIDE),
    "leaky": lambda: MLP(WIDE, nn.LeakyReLU),
    "gelu": lambda: MLP(WIDE, nn.GELU),
    "dropout": lambda: MLP(WIDE, dropout=0.5),
    "batch-norm": lambda: MLP([64] * 7 + [10], batch_norm=True),
    "deep": lambda: MLP(DEEP, he=True),
    "tanh": lambda: MLP([64] * 7 + [10], nn.Tanh),
    "sigmoid-2": lambda: MLP([64] * 3 + [10], nn.Sigmoid),
    "sigmoid-4": lambda: MLP([64] * 5 + [10], nn.Sigmoid),
    "sigmoid-8": lambda: MLP([64] * 9 + [10], nn.Sigmoid),
    "cnn": CNN,
    "cnn-5": lambda: CNN(5),
    "cnn-bn": lambda: CNN(3, norm=True),
    "residual": ResidualMLP,
    "rezero": lambda: ResidualMLP(gate=True),
    "lstm": LSTM,
    "transformer": Transformer,
    "spare": Spare,
    "experts": Experts,
    "regression": lambda: MLP([10, 64, 64, 1]),
}
