"""The networks of the tasks of the set ``previous``, which was the report set until it had been looked at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.nets.first import ACTIVATIONS


class MixerBlock(nn.Module):
    """Mixes the patches, then the channels; each pre-norm and residual."""

    def __init__(self, patches: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(patches, 2 * width), nn.GELU(), nn.Linear(2 * width, patches))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        x = x + self.drop(self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2))
        out: Tensor = x + self.drop(self.channels(self.norm2(x)))
        return out


class Mixer(nn.Module):
    """MLP-Mixer over patches of 4x4 pixels. Input ``(b, 1, side, side)``."""

    def __init__(self, outputs: int, width: int, depth: int, side: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4)
        self.blocks = nn.Sequential(*(MixerBlock((side // 4) ** 2, width, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear((side // 4) ** 2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        out: Tensor = self.head(self.norm(h).flatten(1))
        return out


class SqueezeExcite(nn.Module):
    """Pre-activation residual block with GroupNorm, whose channels are weighed by what the image's mean says."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, before), nn.GroupNorm(4, after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.gate = nn.Sequential(nn.Linear(after, after // 4), nn.ReLU(), nn.Linear(after // 4, after), nn.Sigmoid())
        self.skip = nn.Identity() if stride == 1 and before == after else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.conv1(functional.relu(self.norm1(x)))
        h = self.conv2(functional.relu(self.norm2(h)))
        out: Tensor = self.skip(x) + h * self.gate(h.mean((2, 3)))[:, :, None, None]
        return out


def squeeze_excite(outputs: int, width: int, dropout: float = 0.0) -> nn.Sequential:
    """Stem, two blocks, mean over each quarter of the image, head."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1), SqueezeExcite(width, width, 1),
        SqueezeExcite(width, 2 * width, 2), nn.GroupNorm(4, 2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(8 * width, outputs),
    )  # fmt: skip


def separable_cnn(outputs: int, width: int, side: int, act: str = "silu", dropout: float = 0.0) -> nn.Sequential:
    """Stem, two depthwise convolutions of 3x3, each followed by one of 1x1 and BatchNorm, head."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), ACTIVATIONS[act](), nn.MaxPool2d(2)]
    for before, after in ((width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(before, before, 3, padding=1, groups=before), nn.Conv2d(before, after, 1, bias=False)]
        layers += [nn.BatchNorm2d(after), ACTIVATIONS[act](), nn.MaxPool2d(2)]
    size = 4 * width * (side // 8) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(size, outputs))


class Attention(nn.Module):
    """Causal self-attention with rotary positions. Input and output ``(b, t, width)``."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(4))
        rate = 1000.0 ** -torch.linspace(0, 1, width // heads // 2)
        angle = torch.outer(torch.arange(length).float(), rate)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        """Each pair of features of each head, turned by an angle that grows with the position."""
        (a, b), t = x.chunk(2, -1), x.shape[-2]
        cos, sin = self.get_buffer("cos")[:t], self.get_buffer("sin")[:t]
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        h = functional.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True)
        out: Tensor = self.o_proj(h.transpose(1, 2).flatten(2))
        return out


class GatedBlock(nn.Module):
    """RMSNorm, attention, RMSNorm, SwiGLU; residual."""

    def __init__(self, width: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.attention = nn.RMSNorm(width), Attention(width, heads, length)
        self.norm2 = nn.RMSNorm(width)
        self.gate_proj, self.up_proj = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(2 * width, width, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        x = x + self.drop(self.attention(self.norm1(x)))
        h = self.norm2(x)
        out: Tensor = x + self.drop(self.down_proj(functional.silu(self.gate_proj(h)) * self.up_proj(h)))
        return out


class RotaryTransformer(nn.Module):
    """Decoder without biases. Input ``(b, t)`` ids, output ``(b, t, vocabulary)``."""

    def __init__(self, vocabulary: int, width: int, heads: int, depth: int, length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.Sequential(*(GatedBlock(width, heads, length, dropout) for _ in range(depth)))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        out: Tensor = self.head(self.norm(self.blocks(self.embed(x))))
        return out


class UNet(nn.Module):
    """Down once and up again, with a skip connection. Input ``(b, 4, n, n)``, output ``(b, 3, n, n)``, n even."""

    def __init__(self, width: int, act: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.act = ACTIVATIONS[act]()
        self.enter = nn.Conv2d(4, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.drop = nn.Dropout(dropout)
        self.leave = nn.Conv2d(2 * width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        top = self.act(self.enter(x))
        h = self.act(self.deep(self.act(self.down(top))))
        out: Tensor = self.leave(self.drop(torch.cat((top, self.act(self.up(h))), 1)))
        return out


class ResidualMlp(nn.Module):
    """Linear, then blocks of LayerNorm-Linear-act-Linear that are added, LayerNorm, head."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, act: str = "silu") -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), ACTIVATIONS[act](), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        h = self.enter(x)
        for block in self.blocks:
            h = h + block(h)
        out: Tensor = self.head(h)
        return out


def drawer(noise: int, width: int) -> nn.Sequential:
    """Generator of 8x8 images from noise ``(b, noise)``: transposed convolutions with BatchNorm."""
    return nn.Sequential(
        nn.Linear(noise, 2 * width * 4), nn.Unflatten(1, (2 * width, 2, 2)), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
    )  # fmt: skip


def critic(width: int) -> nn.Sequential:
    """Discriminator of 8x8 images: strided convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(2 * width * 4, 1),
    )  # fmt: skip
