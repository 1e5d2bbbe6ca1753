"""The data of the set ``last``: digits as points, turned, in pairs and printed; clothes; prose."""

from __future__ import annotations

import ast
from functools import cache
from importlib import resources

import numpy as np
import sklearn.datasets
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.zoo.data.first import digits, encoded, split, windows
from benchmarks.zoo.data.previous import LIBRARY, pictures
from benchmarks.zoo.plan import Data

POINTS = 48  # points of a digit's cloud
SIDE = 16  # pixels of a printed digit's image, or of a turned one's
CONTEXT = 40  # characters a sample of prose


@cache
def _clouds() -> tuple[Tensor, Tensor]:
    bunch = sklearn.datasets.load_digits()
    ink, generator = torch.tensor(bunch.data, dtype=torch.float32), torch.Generator().manual_seed(48)
    pixel = torch.multinomial((ink - 3).clamp(min=0), POINTS, replacement=True, generator=generator)
    row, column = pixel // 8, pixel % 8
    place = torch.stack((column, row), 1) + torch.rand(len(ink), 2, POINTS, generator=generator)
    x = torch.cat((place, ink.gather(1, pixel)[:, None]), 1)
    x = (x - x.mean((0, 2), keepdim=True)) / x.std((0, 2), keepdim=True)
    return x, torch.tensor(bunch.target, dtype=torch.long)


def clouds(generator: torch.Generator) -> Data:
    """Points drawn where the digits have ink, anywhere in the pixel. x ``(n, 3, POINTS)``: column, row, ink."""
    return split(*_clouds(), generator)


@cache
def _clothes(start: int = 8000, n: int = 8000) -> tuple[Tensor, Tensor]:
    pixels, y = pictures(start, n)
    x = functional.avg_pool2d(pixels, 2)
    return (x - x.mean()) / x.std(), y


def clothes(generator: torch.Generator) -> Data:
    """The second 8,000 pictures of Fashion-MNIST as they are, averaged to 14x14. x ``(n, 1, 14, 14)``.

    Raises:
        FileNotFoundError: without Debian's package ``dataset-fashion-mnist``.
    """
    return split(*_clothes(), generator)


@cache
def _printed(n: int = 4000) -> tuple[Tensor, Tensor]:
    from PIL import Image, ImageDraw, ImageFont

    thin = str(resources.files("lightning_diag.demo").joinpath("fonts", "amatic-sc-bold.ttf"))
    sizes = range(30, 67, 4)
    fonts = [ImageFont.load_default(size) for size in sizes] + [ImageFont.truetype(thin, size) for size in sizes]
    generator = torch.Generator().manual_seed(27)
    y = torch.arange(n) % 10
    drawn = torch.rand(n, 5, generator=generator)
    images = np.empty((n, SIDE, SIDE), dtype=np.float32)
    for i, (digit, (font, left, up, bold, _)) in enumerate(zip(y.tolist(), drawn.tolist(), strict=True)):
        picture = Image.new("L", (64, 64))
        how = {"font": fonts[int(font * len(fonts))], "anchor": "mm", "stroke_width": int(3 * bold)}
        ImageDraw.Draw(picture).text((24 + 16 * left, 28 + 8 * up), str(digit), 255, **how)
        images[i] = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
    light = 0.5 * drawn[:, 4].view(-1, 1, 1, 1) * torch.linspace(0, 1, SIDE)
    x = torch.from_numpy(images)[:, None] / 255 + light
    x = x + 0.08 * torch.randn(x.shape, generator=generator)
    return (x - x.mean()) / x.std(), y


def printed(generator: torch.Generator) -> Data:
    """Digits in two fonts, ten sizes and three weights, moved, in a light from the right; with noise.

    x ``(n, 1, SIDE, SIDE)``.
    """
    return split(*_printed(), generator)


@cache
def _prose() -> tuple[Tensor, int]:
    found: dict[str, None] = {}  # a paragraph that stands in two places stands in it once
    for path in sorted(LIBRARY.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    text = " ".join(paragraph.split())
                    plain = sum(c.isalpha() or c == " " for c in text)
                    if len(text) > 160 and text.isascii() and plain > 0.95 * len(text):
                        found[text] = None
    return encoded("\n".join(found))


def prose_vocabulary() -> int:
    """Number of different characters in the prose."""
    return _prose()[1]


def prose(generator: torch.Generator) -> Data:
    """Next characters of the paragraphs of the standard library's docstrings: x and y ``(n, CONTEXT)``."""
    return windows(_prose()[0], generator, CONTEXT, block=2048, stride=16, held=24)


@cache
def _turned(times: int = 3) -> tuple[Tensor, Tensor]:
    ink, generator = torch.tensor(sklearn.datasets.load_digits().images, dtype=torch.float32), torch.Generator()
    drawn = torch.rand(times, len(ink), 2, generator=generator.manual_seed(75))
    angle, size = torch.pi * (5 / 6) * (drawn[..., 0] - 0.5), 0.6 + 0.4 * drawn[..., 1]
    cos, sin, zero = angle.cos() / size, angle.sin() / size, torch.zeros_like(angle)
    way = torch.stack((cos, -sin, zero, sin, cos, zero), -1).view(times, -1, 2, 3)
    x = torch.stack([
        functional.grid_sample(ink[:, None], functional.affine_grid(one, [len(ink), 1, SIDE, SIDE], False),
                               align_corners=False)
        for one in way
    ], 1)  # fmt: skip
    y = torch.stack((angle.sin(), angle.cos(), size), -1).transpose(0, 1)
    return (x - x.mean()) / x.std(), (y - y.mean((0, 1))) / y.std((0, 1))


def turned(generator: torch.Generator) -> Data:
    """Digits turned by up to 75 degrees and shrunk to 0.6 or less so; a digit stands in one split only.

    x ``(n, 1, SIDE, SIDE)``; y ``(n, 3)``: sine and cosine of the angle, and the size, each standardised.
    """
    data = split(*_turned(), generator)
    parts = (data.train_x, data.train_y, data.val_x, data.val_y, data.test_x, data.test_y)
    return Data(*(part.flatten(0, 1) for part in parts))


def pairs(generator: torch.Generator, times: int = 3) -> Data:
    """Two digits each: are they the same? x ``(n, 2, 64)``; half of them are; a digit stands in one split only."""
    data, parts = digits(generator), list[Tensor]()
    for x, y in ((data.train_x, data.train_y), (data.val_x, data.val_y), (data.test_x, data.test_y)):
        first = torch.arange(len(x)).repeat(times)
        same = torch.rand(len(first), generator=generator) < 0.5
        fits = (y[first, None] == y) == same[:, None]
        fits &= first[:, None] != torch.arange(len(x))
        second = torch.multinomial(fits.float(), 1, generator=generator)[:, 0]
        parts += [torch.stack((x[first], x[second]), 1), same.long()]
    return Data(*parts)
