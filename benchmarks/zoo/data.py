"""The data: sets that ship with scikit-learn, so that nothing is downloaded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import sklearn.datasets
import torch
from torch import Tensor

from benchmarks.zoo.plan import Data

SEQUENCE = 32  # characters a sample of text


def _split(x: Tensor, y: Tensor, generator: torch.Generator, held: float = 0.22) -> Data:
    """Random split into train, val, test; ``held`` is the share of each of the last two."""
    order = torch.randperm(len(x), generator=generator)
    n = int(held * len(x))
    val, test, train = order[:n], order[n : 2 * n], order[2 * n :]
    return Data(x[train], y[train], x[val], y[val], x[test], y[test])


@cache
def _bunch(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a bundled set; nobody changes them in place."""
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    return bunch.data, bunch.target


def digits(generator: torch.Generator, *, image: bool = False, target: str = "class") -> Data:
    """1797 handwritten digits of 8x8 grey levels, standardised; ``target="input"`` for an autoencoder."""
    inputs, target_class = _bunch("digits")
    x = torch.tensor(inputs, dtype=torch.float32)
    x = (x - x.mean()) / x.std()
    y = x.clone() if target == "input" else torch.tensor(target_class, dtype=torch.long)
    return _split(x.view(-1, 1, 8, 8) if image else x, y, generator)


def table(name: str, generator: torch.Generator) -> Data:
    """A small standardised table: ``diabetes`` (regression), ``breast_cancer`` or ``wine`` (classes)."""
    inputs, target = _bunch(name)
    x = torch.tensor(inputs, dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    if name == "diabetes":
        y = torch.tensor(target, dtype=torch.float32).view(-1, 1)
        return _split(x, (y - y.mean()) / y.std(), generator)
    return _split(x, torch.tensor(target, dtype=torch.long), generator)


@cache
def _characters() -> tuple[Tensor, int]:
    """The descriptions of scikit-learn's data sets (English, about 43,000 characters) as ids, and how many ids."""
    folder = Path(sklearn.datasets.__file__).parent / "descr"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.rst")))
    letters = sorted(set(text))
    if len(text) < 20_000:
        raise RuntimeError(f"expected scikit-learn's data set descriptions in {folder}, found {len(text)} characters")
    lookup = {c: i for i, c in enumerate(letters)}
    return torch.tensor([lookup[c] for c in text], dtype=torch.long), len(letters)


def vocabulary() -> int:
    """Number of different characters in the text."""
    return _characters()[1]


def text(generator: torch.Generator) -> Data:
    """Next-character prediction: x and y ``(n, SEQUENCE)``; blocks of 512 characters go whole to one split."""
    ids, _ = _characters()
    blocks = ids[: len(ids) // 512 * 512].view(-1, 512)
    order = torch.randperm(len(blocks), generator=generator)
    n = len(blocks) // 8
    parts = []
    for chosen, stride in ((order[2 * n :], 8), (order[:n], SEQUENCE), (order[n : 2 * n], SEQUENCE)):
        windows = blocks[chosen].unfold(1, SEQUENCE + 1, stride).reshape(-1, SEQUENCE + 1)
        parts += [windows[:, :-1].contiguous(), windows[:, 1:].contiguous()]
    return Data(*parts)


def ring(generator: torch.Generator, n: int = 4096) -> Data:
    """Points on a ring of 8 Gaussians of radius 2 and standard deviation 0.05, for the GAN; y is the mode."""
    y = torch.randint(0, 8, (n,), generator=generator)
    angle = y * (2 * np.pi / 8)
    x = 2 * torch.stack((angle.cos(), angle.sin()), 1) + 0.05 * torch.randn(n, 2, generator=generator)
    return _split(x, y, generator, held=0.05)
