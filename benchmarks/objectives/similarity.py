"""Losses between samples: embeddings, pairs, teachers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.objectives.base import Objective, digits, mlp, probe


def views(x: Tensor) -> Tensor:
    """Digits shifted by up to a pixel, with noise and a few pixels hidden."""
    image = F.pad(x.view(-1, 1, 8, 8), (1, 1, 1, 1))
    row, column = torch.randint(3, (2,)).tolist()
    moved = image[:, :, row : row + 8, column : column + 8].flatten(1)
    return (moved + 0.1 * torch.randn_like(x)) * (torch.rand_like(x) > 0.2)


class SimClr(Objective):
    """Contrastive learning, NT-Xent over the batch (Chen et al., 2020)."""

    good = 0.8  # accuracy of a linear classifier of the features
    steps = 800

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(64, 128, 64), mlp(64, 64, 32)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, _ = batch
        z = F.normalize(self.head(self.body(torch.cat((views(x), views(x))))), dim=1)
        near = z @ z.T / 0.2
        near.fill_diagonal_(-1e9)
        return F.cross_entropy(near, torch.arange(len(z)).roll(len(x)))

    def score(self) -> float:
        x, y = digits()
        return probe(self.body(x), y)


class Byol(Objective):
    """A student follows an averaged teacher, no negatives (Grill et al., 2020); the loss may rise and fall."""

    good = 0.8
    steps = 800

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = mlp(64, 128, 32), mlp(64, 128, 32)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.predictor = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, _ = batch
        a, b = views(x), views(x)
        return (
            2
            - F.cosine_similarity(self.predictor(self.student(a)), self.teacher(b)).mean()
            - F.cosine_similarity(self.predictor(self.student(b)), self.teacher(a)).mean()
        )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            for old, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                old.lerp_(new, 0.01)

    def score(self) -> float:
        x, y = digits()
        return probe(self.student(x), y)


class BarlowTwins(Objective):
    """Redundancy reduction: the correlation of two views' features shall be the identity (Zbontar et al., 2021)."""

    good = 0.75
    steps = 800

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(64, 128, 64)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, _ = batch
        a, b = (F.batch_norm(self.body(views(x)), None, None, training=True) for _ in range(2))
        c = a.T @ b / len(x)
        off = c - torch.diag(torch.diagonal(c))
        return (1 - torch.diagonal(c)).square().sum() + 0.05 * off.square().sum()

    def score(self) -> float:
        x, y = digits()
        return probe(self.body(x), y)


class Triplet(Objective):
    """Triplet loss with random negatives: it ends near zero, most triplets satisfied (Schroff et al., 2015)."""

    good = 0.9

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(64, 128, 16)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        z = F.normalize(self.body(x), dim=1)
        far = torch.cdist(z, z)
        same = y[:, None] == y
        others = torch.where(same, -1.0, torch.rand(len(y), len(y))).argmax(1)
        mates = torch.where(same, torch.rand(len(y), len(y)), -1.0).argmax(1)
        rows = torch.arange(len(y))
        return F.relu(far[rows, mates] - far[rows, others] + 0.3).mean()

    def score(self) -> float:
        x, y = digits()
        return probe(self.body(x), y)


class TwoTowers(Objective):
    """Two encoders of paired halves of an image, contrastive both ways with a learned temperature (CLIP, 2021)."""

    good = 0.3  # right half found among 400
    steps = 800

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = mlp(32, 128, 32), mlp(32, 128, 32)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def near(self, x: Tensor) -> Tensor:
        """Similarity of each left half and each right one."""
        image = x.view(-1, 8, 8)
        a, b = self.left(image[:, :, :4].flatten(1)), self.right(image[:, :, 4:].flatten(1))
        return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T * self.log_scale.exp()

    def loss(self, batch: Any) -> Tensor:
        near, rows = self.near(batch[0]), torch.arange(len(batch[0]))
        return 0.5 * (F.cross_entropy(near, rows) + F.cross_entropy(near.T, rows))

    def score(self) -> float:
        near = self.near(digits()[0][-400:])
        return float((near.topk(10, 1).indices == torch.arange(400)[:, None]).any(1).float().mean())


class Distillation(Objective):
    """A student follows the soft answers of a trained teacher (Hinton et al., 2015)."""

    good = 0.9

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = mlp(64, 128, 10), mlp(64, 32, 10)
        x, y = digits()
        optimizer = torch.optim.Adam(self.teacher.parameters(), lr=3e-3)
        for _ in range(300):
            rows = torch.randint(len(x) - 400, (64,))
            optimizer.zero_grad()
            F.cross_entropy(self.teacher(x[rows]), y[rows]).backward()
            optimizer.step()
        self.teacher.requires_grad_(False)

    def samples(self) -> tuple[Tensor, ...]:
        return digits()

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        found = self.student(x)
        soft = F.kl_div(F.log_softmax(found / 3, 1), F.softmax(self.teacher(x) / 3, 1), reduction="batchmean")
        return 9 * soft + 0.1 * F.cross_entropy(found, y)

    def score(self) -> float:
        x, y = digits()
        return float((self.student(x[-400:]).argmax(1) == y[-400:]).float().mean())


class Recommender(Objective):
    """Matrix factorization of made-up tastes with the pairwise ranking loss BPR (Rendle et al., 2009)."""

    good = 0.8  # pairs ranked right
    held = 2000
    rate = 1e-2

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(200, 16), nn.Embedding(300, 16)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, 0, 0.1)

    def samples(self) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed(5)
        taste = torch.randn(200, 4, generator=g) @ torch.randn(4, 300, generator=g)
        users = torch.randint(200, (14_000,), generator=g)
        a, b = torch.randint(300, (2, 14_000), generator=g)
        first = taste[users, a] > taste[users, b]
        return users, torch.where(first, a, b), torch.where(first, b, a)

    def loss(self, batch: Any) -> Tensor:
        users, better, worse = batch
        u = self.users(users)
        return -F.logsigmoid((u * (self.items(better) - self.items(worse))).sum(1)).mean()

    def score(self) -> float:
        users, better, worse = (part[-2000:] for part in self.samples())
        u = self.users(users)
        return float(((u * (self.items(better) - self.items(worse))).sum(1) > 0).float().mean())
