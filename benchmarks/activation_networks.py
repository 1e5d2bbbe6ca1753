"""Networks of the activation rules' trainings: the forms in which users write nonlinearities, a second a training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.gradient_networks import CHARACTERS, CHUNK, CNN, LSTM, MLP, WIDE, ResidualMLP, Transformer


class Functional(nn.Module):
    """Functional ReLU and dropout, as most tutorials write it."""

    def __init__(self, act: Callable[[Tensor], Tensor] = F.relu, dropout: float = 0.2) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 10)
        self.act, self.dropout = act, dropout

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        x = F.dropout(self.act(self.fc1(x.flatten(1))), self.dropout, self.training)
        return self.fc3(self.act(self.fc2(x)))


class Residual(nn.Module):
    """Residual blocks that share one in-place ReLU; the last norm of a block starts at zero."""

    def __init__(self, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(blocks))
        self.bn1 = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(blocks))
        self.bn2 = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(blocks))
        for norm in self.bn2:
            nn.init.zeros_(norm.weight)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        h = self.relu(self.stem(x.unsqueeze(1)))
        for conv1, bn1, conv2, bn2 in zip(self.first, self.bn1, self.second, self.bn2, strict=True):
            h = self.relu(h + bn2(conv2(self.relu(bn1(conv1(h))))))
        return self.head(h.mean((2, 3)))


class Autoencoder(nn.Sequential):
    """64-32-8-32-64 with ReLU, sigmoid output; the 8 codes are what healthy runs kill most of."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 32), nn.ReLU(),
            nn.Linear(32, 64), nn.Sigmoid(),
        )  # fmt: skip


class GatedCell(nn.Module):
    """An LSTM written by hand, its gates sigmoid modules."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({g: nn.Linear(8 + width, width) for g in ("i", "f", "o", "g")})
        self.gate, self.tanh, self.width = nn.Sigmoid(), nn.Tanh(), width
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        h = c = x.new_zeros(len(x), self.width)
        for row in x.unbind(1):
            joint = torch.cat([row, h], 1)
            i, f, o = (self.gate(self.maps[g](joint)) for g in ("i", "f", "o"))
            c = f * c + i * self.tanh(self.maps["g"](joint))
            h = o * self.tanh(c)
        return self.head(h)


class Recurrent(nn.Module):
    """A plain tanh RNN, or a GRU, over the rows."""

    def __init__(self, kind: type[nn.RNNBase] = nn.RNN) -> None:
        super().__init__()
        self.cell = kind(8, 64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        return self.head(self.cell(x)[0][:, -1])


class CausalSelfAttention(nn.Module):
    """Attention as GPT code has it: one layer for queries, keys and values, fused attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.c_attn, self.c_proj, self.n_head = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        q, k, v = (p.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for p in self.c_attn(x).chunk(3, -1))
        return self.c_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class GPT(nn.Module):
    """Pre-norm blocks over characters with fused attention and GELU."""

    def __init__(self, width: int = 32, heads: int = 4, depth: int = 2, characters: int = CHARACTERS, chunk: int = CHUNK
                 ) -> None:  # fmt: skip
        super().__init__()
        self.token, self.place = nn.Embedding(characters, width), nn.Embedding(chunk, width)
        self.ln1 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.ln2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.attn = nn.ModuleList(CausalSelfAttention(width, heads) for _ in range(depth))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        h = self.token(x) + self.place.weight[: x.shape[1]]
        for ln1, attn, ln2, mlp in zip(self.ln1, self.attn, self.ln2, self.mlp, strict=True):
            h = h + attn(ln1(h))
            h = h + mlp(ln2(h))
        return self.head(self.norm(h))


class Queries(nn.Module):
    """Learned queries look at the rows: what they are made of is the same for every image, by design."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.rows, self.query = nn.Linear(8, width), nn.Parameter(0.5 * torch.randn(4, width))
        self.place = nn.Parameter(0.1 * torch.randn(8, width))
        self.prepare = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.head = nn.Sequential(nn.Linear(4 * width, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        query = self.prepare(self.query.expand(len(x), -1, -1))
        rows = self.rows(x) + self.place
        return self.head(self.attention(query, rows, rows)[0].flatten(1))


class Squeeze(nn.Module):
    """A convolution net with a squeeze-and-excitation gate."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 8, 1), nn.ReLU(), nn.Conv2d(8, width, 1), nn.Sigmoid()
        )
        self.relu, self.head = nn.ReLU(), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - what torch expects
        h = self.relu(self.one(x.unsqueeze(1)))
        h = self.relu(self.two(h * self.gate(h)))
        return self.head(h.mean((2, 3)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(WIDE),
    "mlp dropout": lambda: MLP(WIDE, dropout=0.5),
    "mlp batch norm": lambda: MLP(WIDE, batch_norm=True),
    "mlp narrow": lambda: MLP([64, 16, 16, 10]),
    "mlp wide": lambda: MLP([64, 1024, 10]),
    "deep": lambda: MLP([64] * 9 + [10], he=True),
    "functional": Functional,
    "functional tanh": lambda: Functional(torch.tanh, 0.0),
    "tanh": lambda: MLP(WIDE, nn.Tanh),
    "sigmoid": lambda: MLP(WIDE, nn.Sigmoid),
    "gelu": lambda: MLP(WIDE, nn.GELU),
    "silu": lambda: MLP(WIDE, nn.SiLU),
    "elu": lambda: MLP(WIDE, nn.ELU),
    "leaky": lambda: MLP(WIDE, nn.LeakyReLU),
    "cnn": CNN,
    "residual": Residual,
    "residual mlp": ResidualMLP,
    "gated residual": lambda: ResidualMLP(gate=True),
    "squeeze": Squeeze,
    "autoencoder": Autoencoder,
    "lstm": LSTM,
    "gated cell": GatedCell,
    "rnn": Recurrent,
    "gru": lambda: Recurrent(nn.GRU),
    "queries": Queries,
    "sigmoid outputs": lambda: nn.Sequential(MLP(WIDE), nn.Sigmoid()),
    "deep sigmoid": lambda: MLP([64] * 13 + [10], nn.Sigmoid),
    "transformer": Transformer,
    "gpt": GPT,
}
