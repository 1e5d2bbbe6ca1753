"""The networks of the development tasks: as a user would write them, with the few knobs that operators turn."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "leaky": nn.LeakyReLU,
    "silu": nn.SiLU,
}  # fmt: skip


def mlp(
    inputs: int, outputs: int, width: int, depth: int, act: str = "relu", dropout: float = 0.0, norm: str = "",
    he: bool = False,
) -> nn.Sequential:  # fmt: skip
    """``depth`` hidden layers; ``he`` re-draws weights with He's normal initialization (needed without norm layers)."""
    layers: list[nn.Module] = []
    size = inputs
    for _ in range(depth):
        layers.append(nn.Linear(size, width))
        if norm:
            layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width))
        layers.append(ACTIVATIONS[act]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        size = width
    net = nn.Sequential(*layers, nn.Linear(size, outputs))
    if he:
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
    return net


def cnn(outputs: int, width: int, act: str = "relu", dropout: float = 0.0) -> nn.Sequential:
    """Two convolutions of 3x3 and a head, for 8x8 images."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), ACTIVATIONS[act](), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), ACTIVATIONS[act](), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(8 * width, 64), ACTIVATIONS[act](), nn.Linear(64, outputs),
    )  # fmt: skip


class Residual(nn.Module):
    """conv-BN-ReLU-conv-BN plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


def resnet(outputs: int, width: int, dropout: float = 0.0) -> nn.Sequential:
    """Stem, two residual blocks, mean over the image, head."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        Residual(width), nn.MaxPool2d(2), Residual(width),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width, outputs),
    )  # fmt: skip


class Recurrent(nn.Module):
    """Embedding, LSTM or GRU, head. Input ``(b, t)`` ids, output ``(b, t, vocabulary)``."""

    def __init__(self, cell: str, vocabulary: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width // 2)
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](width // 2, width, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.head(self.drop(self.rnn(self.embed(x))[0]))
        return out


class Block(nn.Module):
    """Pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.norm1(x)
        x = x + self.drop(self.attention(h, h, h, attn_mask=mask, need_weights=False)[0])
        out: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return out


class Transformer(nn.Module):
    """Character transformer. Input ``(b, t)`` ids, output ``(b, t, vocabulary)``."""

    mask: Tensor

    def __init__(self, vocabulary: int, width: int, heads: int, depth: int, length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        mask = torch.full((length, length), float("-inf")).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        t = x.shape[1]
        h = self.embed(x) + self.position[:t]
        for block in self.blocks:
            h = block(h, self.mask[:t, :t])
        out: Tensor = self.head(self.norm(h))
        return out


def autoencoder(inputs: int, width: int, code: int, act: str = "relu", dropout: float = 0.0) -> nn.Sequential:
    """inputs-width-code-width-inputs."""
    return nn.Sequential(
        nn.Linear(inputs, width), ACTIVATIONS[act](), nn.Dropout(dropout), nn.Linear(width, code),
        nn.Linear(code, width), ACTIVATIONS[act](), nn.Linear(width, inputs),
    )  # fmt: skip
