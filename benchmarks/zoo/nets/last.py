"""The networks of the tasks of the set ``last``, which was the report set until it had been looked at once."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from benchmarks.zoo.nets.first import ACTIVATIONS


class PointNet(nn.Module):
    """The same layers on each point, the largest of each feature, head. Input ``(b, 3, points)``: x, y, ink."""

    def __init__(self, outputs: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width)
        self.shared = nn.Sequential()
        for before, after in itertools.pairwise(sizes):
            self.shared.extend((nn.Conv1d(before, after, 1, bias=False), nn.BatchNorm1d(after), nn.ReLU()))
        self.head = nn.Sequential(
            nn.Linear(4 * width, 2 * width), nn.LayerNorm(2 * width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(2 * width, outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.head(self.shared(x).amax(2))
        return out


class Grown(nn.Module):
    """BatchNorm-ReLU-convolution, whose ``growth`` new channels are set beside the old ones."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(before)
        self.conv = nn.Conv2d(before, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        return torch.cat((x, self.conv(torch.relu(self.norm(x)))), 1)


def dense_net(outputs: int, growth: int, depth: int, dropout: float = 0.0) -> nn.Sequential:
    """Stem of stride 2, ``depth`` grown layers, transition to half the channels and size, as many again, mean, head."""
    width = 2 * growth
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False)]
    for half in range(2):
        layers += [Grown(width + i * growth, growth) for i in range(depth)]
        width += depth * growth
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        if half == 0:
            layers += [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, outputs))


class ColumnReader(nn.Module):
    """A bidirectional GRU over an image's columns, of which attention takes a mean. Input ``(b, 1, side, columns)``."""

    def __init__(self, outputs: int, width: int, side: int, act: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.enter, self.act = nn.Linear(side, width), ACTIVATIONS[act]()
        self.rnn = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.weight = nn.Linear(2 * width, 1)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.rnn(self.act(self.enter(x.squeeze(1).transpose(1, 2))))[0]
        out: Tensor = self.head(self.drop((self.weight(h).softmax(1) * h).sum(1)))
        return out


class MinimalGru(nn.Module):
    """minGRU (Feng et al. 2024): gate and candidate don't see the state. Input and output ``(b, t, width)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.candidate = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        gate = self.gate(x).sigmoid()
        state, states = torch.zeros_like(x[:, 0]), []
        for kept, new in zip((1 - gate).unbind(1), (gate * self.candidate(x)).unbind(1), strict=True):
            state = torch.addcmul(new, kept, state)
            states.append(state)
        return torch.stack(states, 1)


class GatedBlock(nn.Module):
    """LayerNorm, minGRU, linear; LayerNorm, two layers; residual."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.recurrent, self.leave = nn.LayerNorm(width), MinimalGru(width), nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        x = x + self.drop(self.leave(self.recurrent(self.norm1(x))))
        out: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return out


class TiedRecurrence(nn.Module):
    """Embedding, gated blocks, and the embedding again as head. Input ``(b, t)`` ids, output ``(b, t, vocabulary)``."""

    def __init__(self, vocabulary: int, width: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.blocks = nn.Sequential(*(GatedBlock(width, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.head(self.norm(self.blocks(self.embed(x))))
        return out


class EncoderBlock(nn.Module):
    """Self-attention and two layers, residual, each followed by LayerNorm. Input and output ``(b, t, width)``."""

    def __init__(self, width: int, heads: int, act: str, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), ACTIVATIONS[act](), nn.Linear(2 * width, width))
        self.norm1, self.norm2, self.drop = nn.LayerNorm(width), nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        x = self.norm1(x + self.drop(self.attention(x, x, x, need_weights=False)[0]))
        out: Tensor = self.norm2(x + self.drop(self.mlp(x)))
        return out


class MaskedAutoencoder(nn.Module):
    """Transformer that draws an image of 8x8 pixels of which it saw half of the patches of 2x2. Shapes ``(b, 64)``.

    Which half is drawn anew at each call in training; in evaluation, it is that of a chessboard.
    """

    def __init__(
        self, width: int, heads: int, depth: int, share: float = 0.5, act: str = "gelu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.share = share
        self.enter = nn.Linear(4, width)
        self.unseen = nn.Parameter(torch.zeros(width))
        self.position = nn.Parameter(0.5 * torch.randn(16, width))
        self.register_buffer("fixed", (torch.arange(16) // 4 + torch.arange(16)).view(16, 1) % 2 == 0, persistent=False)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, act, dropout) for _ in range(depth)))
        self.leave = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        patches = x.view(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
        hidden = torch.rand(len(x), 16, 1) < self.share if self.training else self.get_buffer("fixed")
        h = torch.where(hidden, self.unseen, self.enter(patches)) + self.position
        drawn: Tensor = self.leave(self.blocks(h))
        return drawn.view(-1, 4, 4, 2, 2).transpose(2, 3).reshape(x.shape)


NORMS = {"": lambda width: [], "layer": lambda width: [nn.GroupNorm(1, width)]}


def turn_reader(outputs: int, width: int, side: int, act: str = "relu", norm: str = "") -> nn.Sequential:
    """Three convolutions of 3x3, the last two of stride 2, a hidden layer, head. Input ``(b, 1, side, side)``."""
    layers: list[nn.Module] = []
    for before, after, stride in ((1, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), *NORMS[norm](after), ACTIVATIONS[act]()]
    size = 2 * width * (side // 4) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, 64), ACTIVATIONS[act](), nn.Linear(64, outputs))


class Siamese(nn.Module):
    """One encoder reads both images; how their codes differ goes to one logit. Input ``(b, 2, 64)``, output ``(b, 1)``.

    ``outputs`` is the number of classes for those who count in columns: one column tells two.
    """

    def __init__(self, outputs: int, width: int, code: int, act: str = "relu", dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, width), ACTIVATIONS[act](), nn.Dropout(dropout), nn.Linear(width, code), ACTIVATIONS[act](),
        )  # fmt: skip
        self.head = nn.Linear(code, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        first, second = self.encoder(x[:, 0]), self.encoder(x[:, 1])
        out: Tensor = self.head((first - second).abs())
        return out
