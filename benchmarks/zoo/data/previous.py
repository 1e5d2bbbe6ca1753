"""The data of the set ``previous``: Debian's copy of Fashion-MNIST, letters, a photograph, the standard library."""

from __future__ import annotations

import ast
import gzip
import os
import statistics
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import sklearn.datasets
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.zoo.data.first import encoded, split, windows
from benchmarks.zoo.plan import Data

FASHION = Path("/usr/share/datasets/fashion-mnist")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIDE = 16  # pixels of a printed letter's image
MOVE = 4  # pixels by which a picture of Fashion-MNIST may be moved
TILE = 12  # pixels of a piece of the photograph
CONTEXT = 48  # characters a sample of the standard library
SOURCES = (  # that repeat themselves little
    "inspect.py", "typing.py", "optparse.py", "_pyio.py", "http/cookiejar.py", "xml/dom/minidom.py", "fractions.py",
)  # fmt: skip
LIBRARY = Path(os.__file__).parent


def pictures(start: int, n: int) -> tuple[Tensor, Tensor]:
    """Pictures ``(n, 1, 28, 28)`` of Fashion-MNIST from 0 to 255, from the ``start`` th on, and their classes ``(n,)``.

    Raises:
        FileNotFoundError: without Debian's package ``dataset-fashion-mnist``.
    """
    if not FASHION.is_dir():
        raise FileNotFoundError(f"expected Fashion-MNIST in {FASHION}: apt-get install dataset-fashion-mnist")
    with (
        gzip.open(FASHION / "train-images-idx3-ubyte.gz") as images,
        gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as labels,
    ):
        pixels = np.frombuffer(images.read(16 + (start + n) * 784)[-n * 784 :], np.uint8).reshape(n, 1, 28, 28)
        y = np.frombuffer(labels.read(8 + start + n)[-n:], np.uint8)
    return torch.tensor(pixels, dtype=torch.float32), torch.tensor(y, dtype=torch.long)


@cache
def _fashion(n: int = 8000) -> tuple[Tensor, Tensor]:
    pixels, y = pictures(0, n)
    places = functional.pad(pixels, (MOVE,) * 4).unfold(2, 28, 1).unfold(3, 28, 1)
    up, left = torch.randint(0, 2 * MOVE + 1, (2, n), generator=torch.Generator().manual_seed(28))
    x = functional.avg_pool2d(places[torch.arange(n), :, up, left], 2)
    return (x - x.mean()) / x.std(), y


def fashion(generator: torch.Generator) -> Data:
    """The first 8,000 pictures of Fashion-MNIST, moved by up to 4 pixels, averaged to 14x14. x ``(n, 1, 14, 14)``.

    Raises:
        FileNotFoundError: without Debian's package ``dataset-fashion-mnist``.
    """
    return split(*_fashion(), generator)


@cache
def _letters(alphabet: str, n: int = 5200) -> tuple[Tensor, Tensor]:
    from PIL import Image, ImageDraw, ImageFont

    fonts = [ImageFont.load_default(size) for size in (44, 52, 60)]
    generator = torch.Generator().manual_seed(26)
    y = torch.arange(n) % len(alphabet)
    drawn = torch.rand(n, 5, generator=generator)
    pictures = np.empty((n, SIDE, SIDE), dtype=np.float32)
    for i, (letter, (font, left, up, angle, lean)) in enumerate(zip(y.tolist(), drawn.tolist(), strict=True)):
        picture = Image.new("L", (64, 64))
        place = (28 + 8 * left, 28 + 8 * up)
        ImageDraw.Draw(picture).text(place, alphabet[letter], 255, fonts[int(font * len(fonts))], anchor="mm")
        turned = picture.rotate(20 * (angle - 0.5), Image.Resampling.BILINEAR)
        leant = turned.transform((64, 64), Image.Transform.AFFINE, (1, lean - 0.5, 32 * (0.5 - lean), 0, 1, 0))
        pictures[i] = np.asarray(leant.resize((SIDE, SIDE), Image.Resampling.BOX))
    x = torch.from_numpy(pictures)[:, None] / 255
    x = x + 0.1 * torch.randn(x.shape, generator=generator)
    return (x - x.mean()) / x.std(), y


def letters(generator: torch.Generator, *, small: bool = False) -> Data:
    """Letters in Pillow's own font, of three sizes, moved, turned and leant; with noise. x ``(n, 1, SIDE, SIDE)``."""
    return split(*_letters(LETTERS.lower() if small else LETTERS), generator)


@cache
def _library() -> tuple[Tensor, int]:
    text = "".join((LIBRARY / name).read_text(encoding="utf-8") for name in SOURCES)
    return encoded("".join(c for c in text if c.isascii()))


def library_vocabulary() -> int:
    """Number of different characters in the modules of the standard library."""
    return _library()[1]


def library(generator: torch.Generator) -> Data:
    """Next-character prediction on seven modules of Python's standard library: x and y ``(n, CONTEXT)``."""
    return windows(_library()[0], generator, CONTEXT, block=2048, stride=16, held=24)


def holes(generator: torch.Generator) -> Data:
    """Pieces of the photograph ``flower.jpg``, standardised; x lacks 60 % of the pixels and tells which are there.

    x ``(n, 4, TILE, TILE)``: colours, and whether the pixel is known; y ``(n, 3, TILE, TILE)``.
    """
    image = torch.tensor(sklearn.datasets.load_sample_image("flower.jpg"), dtype=torch.float32).permute(2, 0, 1)
    image = (image - image.mean((1, 2), keepdim=True)) / image.std((1, 2), keepdim=True)
    y = image.unfold(1, TILE, TILE).unfold(2, TILE, TILE).permute(1, 2, 0, 3, 4).reshape(-1, 3, TILE, TILE)
    known = (torch.rand(len(y), 1, TILE, TILE, generator=generator) < 0.4).float()
    return split(torch.cat((y * known, known), 1), y, generator)


KINDS = (
    ast.Call, ast.Attribute, ast.Name, ast.If, ast.For, ast.Raise, ast.Try, ast.Compare, ast.Assign, ast.Constant,
    ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Subscript, ast.Tuple, ast.arg, ast.Expr, ast.While, ast.With,
)  # fmt: skip


@cache
def _functions() -> tuple[Tensor, Tensor]:
    found: dict[tuple[float, ...], int] = {}  # functions of the same counts stand in it once
    for path in sorted(LIBRARY.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or len(nodes := list(ast.walk(function))) < 40:
                continue
            count = Counter(type(node) for node in nodes)
            names = [len(node.id) for node in nodes if isinstance(node, ast.Name)] or [0]
            columns = [node.col_offset for node in nodes if isinstance(node, ast.stmt)]
            sizes = (len(nodes), (function.end_lineno or 0) - function.lineno, len(function.name))
            row = (*(count[kind] for kind in KINDS), *sizes, statistics.mean(names), statistics.mean(columns))
            found[row] = int(count[ast.Return] > 0)
    x, y = torch.tensor(list(found), dtype=torch.float32).log1p(), torch.tensor(list(found.values()))
    return (x - x.mean(0)) / x.std(0), y


def functions(generator: torch.Generator) -> Data:
    """Does a function of the standard library return something? x: how many nodes of which kinds it has, and sizes."""
    return split(*_functions(), generator)
