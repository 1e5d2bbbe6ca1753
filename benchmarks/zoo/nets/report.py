"""The networks of the report set's tasks: written before anything was tuned on the set ``last``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.nets.first import ACTIVATIONS
from benchmarks.zoo.nets.last import NORMS


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of images ``(b, c, h, w)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class NextBlock(nn.Module):
    """ConvNeXt's: depthwise 5x5, LayerNorm, four times as wide and back by 1x1; residual."""

    def __init__(self, width: int, act: str) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = ChannelNorm(width)
        self.mlp = nn.Sequential(nn.Conv2d(width, 4 * width, 1), ACTIVATIONS[act](), nn.Conv2d(4 * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = x + self.mlp(self.norm(self.depthwise(x)))
        return out


def conv_next(outputs: int, width: int, act: str = "gelu", dropout: float = 0.0) -> nn.Sequential:
    """Patches of 2x2, block, half the size, two blocks, mean over the image, head. Input ``(b, 3, side, side)``."""
    return nn.Sequential(
        nn.Conv2d(3, width, 2, stride=2), ChannelNorm(width), NextBlock(width, act),
        ChannelNorm(width), nn.Conv2d(width, 2 * width, 2, stride=2), NextBlock(2 * width, act),
        NextBlock(2 * width, act), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(2 * width),
        nn.Dropout(dropout), nn.Linear(2 * width, outputs),
    )  # fmt: skip


class ClassToken(nn.Module):
    """Vision transformer over patches of 4x4; the head reads a class token. Input ``(b, 1, side, side)``."""

    def __init__(self, outputs: int, width: int, heads: int, depth: int, side: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4, padding=1)
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.position = nn.Parameter(0.02 * torch.randn(((side + 2) // 4) ** 2 + 1, width))
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "norm1": nn.LayerNorm(width),
                "attention": nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True),
                "norm2": nn.LayerNorm(width),
                "mlp": nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)),
            })
            for _ in range(depth)
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat((self.token.expand(len(x), 1, -1), patches), 1) + self.position
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            normed = block["norm1"](h)
            h = h + block["attention"](normed, normed, normed, need_weights=False)[0]
            h = h + block["mlp"](block["norm2"](h))
        out: Tensor = self.head(self.norm(h[:, 0]))
        return out


class LineReader(nn.Module):
    """Word embedding, an LSTM of two layers, the mean of its states, head. Input ``(b, t)`` ids, 0 after the last."""

    def __init__(self, vocabulary: int, outputs: int, width: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width, padding_idx=0)
        self.rnn = nn.LSTM(width, width, num_layers=2, batch_first=True, dropout=dropout)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        states: Tensor = self.rnn(self.drop(self.embed(x)))[0]
        there = (x > 0).unsqueeze(2).to(states.dtype)
        out: Tensor = self.head(self.drop((states * there).sum(1) / there.sum(1).clamp(min=1)))
        return out


class Inception(nn.Module):
    """Convolutions of 1x1, 3x3 and 5x5 beside each other, each with BatchNorm: ``3 * width`` channels."""

    def __init__(self, before: int, width: int, act: str) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, width, size, padding=size // 2, bias=False), nn.BatchNorm2d(width))
            for size in (1, 3, 5)
        )
        self.act = ACTIVATIONS[act]()

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.act(torch.cat([branch(x) for branch in self.branches], 1))
        return out


def inception(outputs: int, width: int, act: str = "relu", dropout: float = 0.0) -> nn.Sequential:
    """Stem, two blocks, pooling between, maximum over the image, hidden layer, head. Input ``(b, 1, side, side)``."""
    return nn.Sequential(
        nn.Conv2d(1, 2 * width, 4, stride=2, padding=1), ACTIVATIONS[act](), Inception(2 * width, width, act),
        nn.MaxPool2d(2), Inception(3 * width, 2 * width, act), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        nn.Linear(6 * width, 64), ACTIVATIONS[act](), nn.Dropout(dropout), nn.Linear(64, outputs),
    )  # fmt: skip


class StackedGru(nn.Module):
    """Embedding, residual GRUs behind LayerNorms, head. Input ``(b, t)`` ids, output ``(b, t, vocabulary)``."""

    def __init__(self, vocabulary: int, width: int, depth: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.GRU(width, width, batch_first=True) for _ in range(depth))
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.embed(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = h + self.drop(layer(norm(h))[0])
        out: Tensor = self.head(self.norm(h))
        return out


class TemporalBlock(nn.Module):
    """Two causal convolutions, dilated; residual. Input and output ``(b, width, t)``."""

    def __init__(self, width: int, dilation: int, act: str, norm: str) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.conv1, self.conv2 = (nn.Conv1d(width, width, 3, dilation=dilation) for _ in range(2))
        self.norm1, self.norm2 = (nn.Sequential(*NORMS[norm](width)) for _ in range(2))
        self.act = ACTIVATIONS[act]()

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.act(self.norm1(self.conv1(functional.pad(x, (self.past, 0)))))
        out: Tensor = x + self.act(self.norm2(self.conv2(functional.pad(h, (self.past, 0)))))
        return out


class Forecaster(nn.Module):
    """Temporal convolutions over the past, from whose last state the future is told. ``(b, t)`` -> ``(b, outputs)``."""

    def __init__(self, outputs: int, width: int, depth: int, act: str = "relu", norm: str = "") -> None:
        super().__init__()
        self.enter = nn.Conv1d(1, width, 1)
        self.blocks = nn.Sequential(*(TemporalBlock(width, 2**i, act, norm) for i in range(depth)))
        self.leave = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.leave(self.blocks(self.enter(x[:, None]))[:, :, -1])
        return out


def _twice(before: int, after: int, act: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in (before, after):
        layers += [nn.Conv2d(size, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), ACTIVATIONS[act]()]
    return nn.Sequential(*layers)


class SegmentingUNet(nn.Module):
    """Down twice and up again, two convolutions at each size. ``(b, 1, n, n)`` -> ``(b, outputs, n, n)``, 4 | n."""

    def __init__(self, outputs: int, width: int, act: str = "relu", sizes: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        small, middle, large = (width * size for size in sizes)
        self.enter, self.down1, self.down2 = (
            _twice(1, small, act),
            _twice(small, middle, act),
            _twice(middle, large, act),
        )
        self.up1, self.up2 = _twice(large + middle, middle, act), _twice(middle + small, small, act)
        self.leave = nn.Conv2d(small, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        top = self.enter(x)
        middle = self.down1(functional.max_pool2d(top, 2))
        deep = functional.interpolate(self.down2(functional.max_pool2d(middle, 2)), scale_factor=2)
        up = functional.interpolate(self.up1(torch.cat((deep, middle), 1)), scale_factor=2)
        out: Tensor = self.leave(self.up2(torch.cat((up, top), 1)))
        return out


def normed_generator(noise: int, outputs: int, width: int) -> nn.Sequential:
    """Two hidden layers with BatchNorm."""
    return nn.Sequential(
        nn.Linear(noise, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, outputs),
    )  # fmt: skip
