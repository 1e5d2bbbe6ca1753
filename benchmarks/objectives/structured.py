"""Answers with a structure: sets of labels, masks, boxes, sequences, graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.objectives.base import Objective, digits, mlp


class MultiLabel(Objective):
    """Which digits are in a pair of images: ten independent yes or no, few of them yes."""

    good = 0.85  # of the pairs' true labels among the two best

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(128, 128, 10)

    def samples(self) -> tuple[Tensor, ...]:
        x, y = digits()
        mates = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
        return torch.cat((x, x[mates]), 1), ((F.one_hot(y, 10) + F.one_hot(y[mates], 10)) > 0).float()

    def loss(self, batch: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.net(batch[0]), batch[1])

    def score(self) -> float:
        x, y = (part[-400:] for part in self.samples())
        return float(y.gather(1, self.net(x).topk(2, 1).indices).sum() / y.sum())


class Segmentation(Objective):
    """Which pixels belong to a bright shape in noise: soft Dice plus cross-entropy a pixel (Milletari et al., 2016)."""

    good = 0.8  # Dice
    size = 16
    rate = 3e-3
    steps = 300

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 1),
        )  # fmt: skip

    def samples(self) -> tuple[Tensor, ...]:
        image = digits()[0].view(-1, 1, 8, 8)
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(2))
        return image + 0.2 * noise, (image > 0.5).float()

    def dice(self, x: Tensor, mask: Tensor) -> Tensor:
        """Mean soft Dice coefficient."""
        p = self.net(x).sigmoid()
        return ((2 * (p * mask).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()

    def loss(self, batch: Any) -> Tensor:
        x, mask = batch
        return 1 - self.dice(x, mask) + F.binary_cross_entropy_with_logits(self.net(x), mask)

    def score(self) -> float:
        x, mask = (part[-400:] for part in self.samples())
        return float(self.dice(x, mask))


class Detection(Objective):
    """A digit somewhere on a canvas: its class, its place and whether there is one; three losses added."""

    good = 0.7  # accuracy of the class
    steps = 1500
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(32 * 16, 64), nn.ReLU(),
        )  # fmt: skip
        self.kind, self.place, self.there = nn.Linear(64, 10), nn.Linear(64, 2), nn.Linear(64, 1)

    def samples(self) -> tuple[Tensor, ...]:
        x, y = digits()
        g = torch.Generator().manual_seed(4)
        rows = torch.cat((torch.randint(len(x) - 400, (8000,), generator=g), torch.arange(len(x) - 400, len(x))))
        x, y = x[rows], y[rows]
        canvas, corner = torch.zeros(len(x), 1, 16, 16), torch.randint(9, (len(x), 2), generator=g)
        there = (torch.rand(len(x), generator=g) < 0.8).float()
        for i, (row, column) in enumerate(corner.tolist()):
            canvas[i, 0, row : row + 8, column : column + 8] = there[i] * x[i].view(8, 8)
        return canvas + 0.05 * torch.randn(canvas.shape, generator=g), y, corner / 8, there

    def loss(self, batch: Any) -> Tensor:
        x, y, corner, there = batch
        h = self.body(x)
        kind = (F.cross_entropy(self.kind(h), y, reduction="none") * there).sum() / there.sum()
        place = (F.smooth_l1_loss(self.place(h), corner, reduction="none").sum(1) * there).sum() / there.sum()
        return kind + 5 * place + F.binary_cross_entropy_with_logits(self.there(h)[:, 0], there)

    def score(self) -> float:
        x, y, _, there = (part[-400:] for part in self.samples())
        right = (self.kind(self.body(x)).argmax(1) == y).float()
        return float((right * there).sum() / there.sum())


class Ctc(Objective):
    """Three digits in a row read column by column, connectionist temporal classification (Graves et al., 2006)."""

    good = 0.7  # digits read in order
    steps = 1200
    size = 32
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(8, 64, bidirectional=True), nn.Linear(128, 11)

    def samples(self) -> tuple[Tensor, ...]:
        x, y = digits()
        rows = torch.randint(len(x), (3000, 3), generator=torch.Generator().manual_seed(6))
        return x[rows].view(3000, 3, 8, 8).permute(0, 2, 1, 3).reshape(3000, 8, 24), y[rows] + 1

    def logits(self, x: Tensor) -> Tensor:
        """Logits ``(columns, samples, 11)``; 0 is the blank."""
        out: Tensor = self.head(self.rnn(x.permute(2, 0, 1))[0])
        return out

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        n = len(x)
        return F.ctc_loss(F.log_softmax(self.logits(x), 2), y, torch.full((n,), 24), torch.full((n,), 3))

    def score(self) -> float:
        x, y = (part[-400:] for part in self.samples())
        best = self.logits(x).argmax(2).T.tolist()
        read = [[a for a, b in zip(line, [0, *line], strict=False) if a not in (0, b)] for line in best]
        pairs = zip(read, y.tolist(), strict=True)
        return sum(a == b for found, true in pairs for a, b in zip(found, true, strict=False)) / y.numel()


class Translation(Objective):
    """A sequence is reversed by an encoder and decoder with teacher forcing; targets are padded (-100)."""

    good = 0.9  # tokens
    steps = 700
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.position = nn.Embedding(22, 48), nn.Parameter(0.1 * torch.randn(12, 48))
        self.net = nn.Transformer(48, 4, 1, 1, 96, dropout=0.0, batch_first=True)
        self.head = nn.Linear(48, 22)

    def samples(self) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed(8)
        lengths = torch.randint(5, 11, (4000,), generator=g)
        source = torch.randint(2, 22, (4000, 10), generator=g)
        at = torch.arange(10)
        source[at >= lengths[:, None]] = 0
        index = (lengths[:, None] - 1 - at).clamp(min=0)
        target = source.gather(1, index)
        target[at >= lengths[:, None]] = -100
        return source, target

    def logits(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of each target given those before it."""
        before = torch.cat((torch.ones(len(target), 1, dtype=torch.long), target[:, :-1].clamp(min=0)), 1)
        a, b = self.embed(source) + self.position[:10], self.embed(before) + self.position[:10]
        mask = nn.Transformer.generate_square_subsequent_mask(10)
        out: Tensor = self.head(self.net(a, b, tgt_mask=mask))
        return out

    def loss(self, batch: Any) -> Tensor:
        source, target = batch
        return F.cross_entropy(self.logits(source, target).flatten(0, 1), target.flatten(), ignore_index=-100)

    def score(self) -> float:
        source, target = (part[-400:] for part in self.samples())
        right = (self.logits(source, target).argmax(2) == target)[target >= 0]
        return float(right.float().mean())


class MaskedLanguage(Objective):
    """Masked tokens of a made-up grammar, a fifth of them hidden (Devlin et al., 2019)."""

    good = 0.5  # hidden tokens found; the commonest is 0.1 of all
    steps = 800
    rate = 3e-3

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.position = nn.Embedding(21, 48), nn.Parameter(0.1 * torch.randn(16, 48))
        self.body = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, batch_first=True), 2, enable_nested_tensor=False
        )
        self.head = nn.Linear(48, 20)

    def samples(self) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed(9)
        follows = torch.stack([torch.randperm(20, generator=g) for _ in range(2)])
        tokens = [torch.randint(20, (4000,), generator=g)]
        for _ in range(15):
            tokens.append(follows[(torch.rand(4000, generator=g) < 0.15).long(), tokens[-1]])
        return (torch.stack(tokens, 1),)

    def guesses(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the hidden tokens, and those tokens."""
        hidden = torch.rand(tokens.shape) < 0.2
        h = self.body(self.embed(tokens.masked_fill(hidden, 20)) + self.position)
        return self.head(h[hidden]), tokens[hidden]

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(*self.guesses(batch[0]))

    def score(self) -> float:
        logits, true = self.guesses(self.samples()[0][-400:])
        return float((logits.argmax(1) == true).float().mean())


class Graph(Objective):
    """Classes of all nodes of one graph from few labels, a graph convolution, the whole graph a step (Kipf, 2017)."""

    good = 0.85
    steps = 300
    rate = 1e-2
    held = 0
    size = 1

    def __init__(self) -> None:
        super().__init__()
        x, y = digits()
        near = torch.cdist(x, x).topk(6, largest=False).indices
        edges = torch.zeros(len(x), len(x)).scatter_(1, near, 1.0)
        edges = ((edges + edges.T) > 0).float()
        self.register_buffer("edges", edges / edges.sum(1, keepdim=True))
        self.register_buffer("x", x)
        self.register_buffer("y", y)
        self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 10)
        self.drop = nn.Dropout(0.5)

    def samples(self) -> tuple[Tensor, ...]:
        return (torch.zeros(1),)

    def logits(self) -> Tensor:
        """Logits of every node."""
        h = self.edges @ self.first(self.x)
        out: Tensor = self.edges @ self.second(self.drop(F.relu(h)))
        return out

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.logits()[:140], self.y[:140])

    def score(self) -> float:
        return float((self.logits()[140:].argmax(1) == self.y[140:]).float().mean())
