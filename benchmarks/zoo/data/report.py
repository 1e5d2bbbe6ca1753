"""The data of the report set's tasks: digits over a photograph and in crowds, vowels, source text, rows of pixels."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.zoo.data.first import digits, encoded, split, windows
from benchmarks.zoo.data.previous import LIBRARY, pictures
from benchmarks.zoo.plan import Data

SIDE = 16  # pixels of a digit over the photograph
PLACE = 18  # pixels of a crowd of digits
FIELD = 24  # pixels of an image with vowels
VOWELS = "AEO"
KEPT = (1.0, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.4, 0.4)  # shares of the classes of Fashion-MNIST that are kept
MODULES = (
    "argparse", "_pydecimal", "difflib", "ipaddress", "mailbox", "pickle", "statistics", "tarfile", "turtle", "imaplib",
)  # fmt: skip
WORDS = 1000  # that are told apart
LINE = 32  # words of a piece of source
CONTEXT = 48  # characters a sample of the headers
CODE = 6  # principal components of a digit
PAST, FUTURE = 32, 6  # pixels of a row: known, and to be told


def _fonts(start: str, sizes: Sequence[int]) -> list[Any]:
    from PIL import ImageFont

    folder = resources.files("lightning_diag.demo").joinpath("fonts")
    files = sorted(str(path) for path in folder.iterdir() if path.name.startswith(start))
    return [ImageFont.truetype(path, size) for path in files for size in sizes]


@cache
def _street(n: int = 4000) -> tuple[Tensor, Tensor]:
    from PIL import Image, ImageDraw

    photograph = Image.fromarray(sklearn.datasets.load_sample_image("china.jpg"))
    generator, fonts = torch.Generator().manual_seed(61), _fonts("dejavu", (44, 50, 56))
    y = torch.arange(n) % 10
    drawn = torch.rand(n, 9, generator=generator)
    images = np.empty((n, SIDE, SIDE, 3), dtype=np.float32)
    for i, (digit, (across, up, font, right, down, *light, turn)) in enumerate(
        zip(y.tolist(), drawn.tolist(), strict=True)
    ):
        left, top = int(across * (photograph.width - 64)), int(up * (photograph.height - 64))
        picture = photograph.crop((left, top, left + 64, top + 64)).point(lambda v: 0.6 * v)
        mask = Image.new("L", (64, 64))
        how: dict[str, Any] = {"font": fonts[int(font * len(fonts))], "anchor": "mm"}
        ImageDraw.Draw(mask).text((28 + 8 * right, 30 + 4 * down), str(digit), 255, **how)
        mask = mask.rotate(16 * (turn - 0.5), Image.Resampling.BILINEAR)
        picture.paste(tuple(round(150 + 105 * c) for c in light), mask=mask)
        images[i] = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True), y


def street(generator: torch.Generator) -> Data:
    """Light digits of three fonts over pieces of the photograph ``china.jpg``. x ``(n, 3, SIDE, SIDE)``."""
    return split(*_street(), generator)


@cache
def _wares(start: int = 16_000, n: int = 9_000) -> tuple[Tensor, Tensor]:
    pixels, y = pictures(start, n)
    keep = torch.rand(n, generator=torch.Generator().manual_seed(62)) < torch.tensor(KEPT)[y]
    x = functional.avg_pool2d(pixels[keep], 2)
    return (x - x.mean()) / x.std(), y[keep]


def wares(generator: torch.Generator) -> Data:
    """9,000 more pictures of Fashion-MNIST, averaged to 14x14, of which KEPT of each class are there.

    x ``(n, 1, 14, 14)``.

    Raises:
        FileNotFoundError: without Debian's package ``dataset-fashion-mnist``.
    """
    return split(*_wares(), generator)


def balance() -> tuple[float, ...]:
    """Weight of each class of :func:`wares` in a loss that counts all classes alike: 1 on average over the samples."""
    return tuple(round(sum(KEPT) / len(KEPT) / kept, 3) for kept in KEPT)


@cache
def _lines() -> tuple[Tensor, Tensor, int]:
    found: dict[tuple[str, ...], set[int]] = {}
    for label, module in enumerate(MODULES):
        lines = (LIBRARY / f"{module}.py").read_text(encoding="utf-8").splitlines()
        full = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", ">>>"))]
        for piece in zip(full[::3], full[1::3], full[2::3], strict=False):
            words = tuple(re.findall(r"[A-Za-z_]+|\d+|[^\sA-Za-z_\d]", " ".join(piece)))[:LINE]
            if len(words) >= 6:
                found.setdefault(words, set()).add(label)
    pieces = {words: labels.pop() for words, labels in found.items() if len(labels) == 1}
    count = Counter(itertools.chain.from_iterable(pieces))
    ids = {word: i for i, (word, _) in enumerate(count.most_common(WORDS), 2)}  # 0 is nothing, 1 any other word
    x = torch.tensor([[ids.get(word, 1) for word in words] + [0] * (LINE - len(words)) for words in pieces])
    return x, torch.tensor(list(pieces.values())), len(ids) + 2


def words() -> int:
    """Number of ids in :func:`lines`."""
    return _lines()[2]


def lines(generator: torch.Generator) -> Data:
    """Of which of ten modules of the standard library are these three lines? x ``(n, LINE)``: words, then zeros."""
    return split(*_lines()[:2], generator)


def crowd(generator: torch.Generator, times: int = 3) -> Data:
    """Two or three digits each, side by side; y ``(n, 10)``: which are there, 0 or 1.

    x ``(n, 1, PLACE, PLACE)``; a digit stands in one split only.
    """
    data, parts = digits(generator, image=True), list[Tensor]()
    low = float(data.train_x.min())
    for x, y in ((data.train_x, data.train_y), (data.val_x, data.val_y), (data.test_x, data.test_y)):
        n = times * len(x)
        canvas, there = torch.full((n, 1, PLACE, PLACE), low), torch.zeros(n, 10)
        chosen = torch.randint(0, len(x), (n, 3), generator=generator)
        corner = torch.rand(n, 4, generator=generator).argsort(1)
        moved = torch.randint(0, 3, (n, 3, 2), generator=generator)
        for i in range(n):
            for k in range(2 + i % 2):
                row, column = (
                    int(moved[i, k, 0] + 8 * (corner[i, k] // 2)),
                    int(moved[i, k, 1] + 8 * (corner[i, k] % 2)),
                )
                spot = canvas[i, :, row : row + 8, column : column + 8]
                torch.maximum(spot, x[chosen[i, k]], out=spot)
                there[i, y[chosen[i, k]]] = 1
        parts += [canvas, there]
    mean, std = parts[0].mean(), parts[0].std()
    for i in (0, 2, 4):
        parts[i] = (parts[i] - mean) / std
    return Data(*parts)


@cache
def _headers(characters: int = 150_000) -> tuple[Tensor, int]:
    folder = Path(torch.__file__).parent / "include" / "c10" / "util"
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.h")))
    if len(text) < characters:
        raise RuntimeError(f"expected {characters} characters of C++ in {folder}, found {len(text)}")
    return encoded("".join(c for c in text if c.isascii())[:characters])


def headers_vocabulary() -> int:
    """Number of different characters in the headers."""
    return _headers()[1]


def headers(generator: torch.Generator) -> Data:
    """Next characters of PyTorch's C++ headers: x and y ``(n, CONTEXT)``."""
    return windows(_headers()[0], generator, CONTEXT, block=2048, stride=16, held=16)


def ahead(generator: torch.Generator, n: int = 6000) -> Data:
    """The next pixels of a row of the photograph ``flower.jpg``; a split has rows of its own, in bands of eight.

    x ``(n, PAST)``, y ``(n, FUTURE)``: brightness, standardised.
    """
    image = torch.tensor(sklearn.datasets.load_sample_image("flower.jpg"), dtype=torch.float32).mean(2)
    image = functional.avg_pool2d(image[None], (1, 2))[0]
    image = (image - image.mean()) / image.std()
    bands = image[: len(image) // 8 * 8].view(-1, 8, image.shape[1])
    order = torch.randperm(len(bands), generator=generator)
    held = len(bands) // 5
    parts = list[Tensor]()
    for chosen in (order[2 * held :], order[:held], order[held : 2 * held]):
        rows = bands[chosen].flatten(0, 1).unfold(1, PAST + FUTURE, 4).flatten(0, 1)
        picked = rows[torch.randperm(len(rows), generator=generator)[: n * len(chosen) // len(bands)]]
        parts += [picked[:, :PAST].contiguous(), picked[:, PAST:].contiguous()]
    return Data(*parts)


@cache
def _vowels(n: int = 2400) -> tuple[Tensor, Tensor]:
    from PIL import Image, ImageDraw, ImageFont

    generator = torch.Generator().manual_seed(63)
    fonts = [ImageFont.load_default(size) for size in (12, 14, 16, 18)]
    drawn = torch.rand(n, 2, 5, generator=generator)
    images, y = np.empty((n, FIELD, FIELD), dtype=np.float32), np.zeros((n, FIELD, FIELD), dtype=np.int64)
    for i, pair in enumerate(drawn.tolist()):
        image = np.zeros((FIELD, FIELD), dtype=np.float32)
        for k, (letter, font, left, up, ink) in enumerate(pair):
            picture, kind = Image.new("L", (FIELD, FIELD)), int(letter * len(VOWELS))
            place = (7 + 10 * k + 2 * (left - 0.5), 8 + 8 * up)
            ImageDraw.Draw(picture).text(place, VOWELS[kind], 255, fonts[int(font * len(fonts))], anchor="mm")
            pixels = np.asarray(picture) / 255
            y[i][pixels > 0.4] = kind + 1
            image = np.maximum(image, pixels * (0.5 + 0.5 * ink))
        images[i] = image
    x = torch.from_numpy(images)[:, None]
    x = x + 0.1 * torch.randn(x.shape, generator=generator)
    return (x - x.mean()) / x.std(), torch.from_numpy(y)


def vowels(generator: torch.Generator) -> Data:
    """Two vowels of four sizes, with noise: of which is each pixel? x ``(n, 1, FIELD, FIELD)``, y ``(n, ...)``."""
    return split(*_vowels(), generator)


def codes(generator: torch.Generator) -> Data:
    """Handwritten digits as their first principal components: x ``(n, CODE)``, the same scale for all; y the digit."""
    bunch = sklearn.datasets.load_digits()
    x = torch.tensor(bunch.data, dtype=torch.float32)
    x = x - x.mean(0)
    _, _, directions = torch.linalg.svd(x, full_matrices=False)
    # the sign of a component is the library's choice: its largest entry is positive here
    top = directions[:CODE]
    top = top * top.gather(1, top.abs().argmax(1, keepdim=True)).sign()
    x = x @ top.T
    return split(x / x.std(), torch.tensor(bunch.target, dtype=torch.long), generator, held=0.15)
