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


def split(x: Tensor, y: Tensor, generator: torch.Generator, held: float = 0.22) -> Data:
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
    x = x.view(-1, 1, 8, 8) if image else x
    y = x.clone() if target == "input" else torch.tensor(target_class, dtype=torch.long)
    return split(x, y, generator)


def table(name: str, generator: torch.Generator) -> Data:
    """A small standardised table: ``diabetes`` (regression), ``breast_cancer`` or ``wine`` (classes)."""
    inputs, target = _bunch(name)
    x = torch.tensor(inputs, dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    if name == "diabetes":
        y = torch.tensor(target, dtype=torch.float32).view(-1, 1)
        return split(x, (y - y.mean()) / y.std(), generator)
    return split(x, torch.tensor(target, dtype=torch.long), generator)


@cache
def _characters() -> tuple[Tensor, int]:
    """The descriptions of scikit-learn's data sets (English, about 43,000 characters) as ids, and how many ids."""
    folder = Path(sklearn.datasets.__file__).parent / "descr"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.rst")))
    if len(text) < 20_000:
        raise RuntimeError(f"expected scikit-learn's data set descriptions in {folder}, found {len(text)} characters")
    return encoded(text)


@cache
def _code() -> tuple[Tensor, int]:
    """The first 60,000 characters of NumPy's ``linalg``, real Python, as ids, and how many ids there are."""
    code = Path(np.linalg.__file__).with_name("_linalg.py").read_text(encoding="ascii", errors="replace")
    return encoded(code[:60_000])


def encoded(text: str) -> tuple[Tensor, int]:
    """Characters as ids in the order of the alphabet, and how many different ones there are."""
    letters = sorted(set(text))
    lookup = {c: i for i, c in enumerate(letters)}
    return torch.tensor([lookup[c] for c in text], dtype=torch.long), len(letters)


def vocabulary(*, code: bool = False) -> int:
    """Number of different characters in the text, or in the Python code."""
    return (_code if code else _characters)()[1]


def windows(ids: Tensor, generator: torch.Generator, length: int, *, block: int, stride: int, held: int = 8) -> Data:
    """Next characters: x, y ``(n, length)``; blocks go whole to one split, 1 of ``held`` to val and test each."""
    blocks = ids[: len(ids) // block * block].view(-1, block)
    order = torch.randperm(len(blocks), generator=generator)
    n = len(blocks) // held
    parts = []
    for chosen, step in ((order[2 * n :], stride), (order[:n], length), (order[n : 2 * n], length)):
        pieces = blocks[chosen].unfold(1, length + 1, step).reshape(-1, length + 1)
        parts += [pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()]
    return Data(*parts)


def text(generator: torch.Generator, *, code: bool = False) -> Data:
    """Next characters of the descriptions, or of the Python code: x and y ``(n, SEQUENCE)``."""
    ids, _ = (_code if code else _characters)()
    return windows(ids, generator, SEQUENCE, block=512, stride=8)


def modes(kind: str) -> Tensor:
    """Centres ``(modes, d)`` of the GAN's data: a ring of 8 (tilted: in 5 dimensions), or a square of 3 x 3."""
    if kind in ("ring", "tilted"):
        angle = torch.arange(8) * (2 * np.pi / 8)
        ring = 2 * torch.stack((angle.cos(), angle.sin()), 1)
        plane, _ = torch.linalg.qr(torch.randn(5, 2, generator=torch.Generator().manual_seed(5)))
        return ring if kind == "ring" else ring @ plane.T
    return 1.5 * torch.cartesian_prod(torch.arange(-1.0, 2.0), torch.arange(-1.0, 2.0))


def points(generator: torch.Generator, kind: str = "ring", n: int = 4096) -> Data:
    """Gaussians of standard deviation 0.05 (tilted: 0.1) around :func:`modes`, for the GAN; y is the mode."""
    centres = modes(kind)
    y = torch.randint(0, len(centres), (n,), generator=generator)
    x = centres[y] + (0.1 if kind == "tilted" else 0.05) * torch.randn(n, centres.shape[1], generator=generator)
    return split(x, y, generator, held=0.05)
