"""The networks of the tasks of the set ``former``, which was the report set until it had been looked at twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.nets.first import ACTIVATIONS


class VisionTransformer(nn.Module):
    """Patches of 2x2 pixels, pre-norm encoder, mean over the patches, head. Input ``(b, 1, side, side)``."""

    def __init__(self, outputs: int, width: int, heads: int, depth: int, side: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.position = nn.Parameter(0.02 * torch.randn((side // 2) ** 2, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.patches(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.head(self.norm(h.mean(1)))
        return out


def normed_cnn(outputs: int, width: int, side: int, act: str = "relu", dropout: float = 0.0) -> nn.Sequential:
    """Three convolutions with BatchNorm, two poolings, a hidden layer without norm, head."""
    layers: list[nn.Module] = []
    for before, after, pool in ((1, width, False), (width, 2 * width, True), (2 * width, 2 * width, True)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), ACTIVATIONS[act]()]
        if pool:
            layers.append(nn.MaxPool2d(2))
    size = 2 * width * (side // 4) ** 2
    head = (nn.Dropout(dropout), nn.Linear(size, 48), ACTIVATIONS[act](), nn.Linear(48, outputs))
    return nn.Sequential(*layers, nn.Flatten(), *head)


class RowReader(nn.Module):
    """A bidirectional LSTM that reads an image row by row, maximum over the rows, head. Input ``(b, 1, rows, n)``."""

    def __init__(self, outputs: int, width: int, side: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn = nn.LSTM(side, width, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.head(self.drop(self.rnn(x.squeeze(1))[0].amax(1)))
        return out


def convolutional_autoencoder(width: int, code: int, act: str = "relu", dropout: float = 0.0) -> nn.Sequential:
    """8x8 pixels, strided convolutions to a code, transposed convolutions back."""
    small = 2 * width * 4
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1), ACTIVATIONS[act](),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), ACTIVATIONS[act](),
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(small, code), nn.Linear(code, small), ACTIVATIONS[act](),
        nn.Unflatten(1, (2 * width, 2, 2)),
        nn.ConvTranspose2d(2 * width, width, 2, stride=2), ACTIVATIONS[act](),
        nn.ConvTranspose2d(width, 1, 2, stride=2),
    )  # fmt: skip


class CausalConvolutions(nn.Module):
    """Embedding, residual dilated causal convolutions, head. Input ``(b, t)`` ids, output ``(b, t, vocabulary)``."""

    def __init__(self, vocabulary: int, width: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(depth))
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.embed(x).transpose(1, 2)
        for i, layer in enumerate(self.layers):
            h = h + self.drop(functional.relu(layer(functional.pad(h, (2**i, 0)))))
        out: Tensor = self.head(h.transpose(1, 2))
        return out
