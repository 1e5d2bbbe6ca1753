"""The data of the set ``former`` that isn't the first tasks' data: a photograph, printed digits."""

from __future__ import annotations

from importlib import resources

import numpy as np
import sklearn.datasets
import torch

from benchmarks.zoo.data.first import split
from benchmarks.zoo.plan import Data


def photograph(generator: torch.Generator, n: int = 6000, waves: int = 6) -> Data:
    """Colour of a pixel from its place: the photograph ``china.jpg``, standardised; x are sines of the place."""
    image = sklearn.datasets.load_sample_image("china.jpg")
    height, width, _ = image.shape
    place = torch.rand(n, 2, generator=generator)
    row, column = (place * torch.tensor([height, width])).long().unbind(1)
    y = torch.tensor(image, dtype=torch.float32)[row, column]
    angle = torch.pi * (place[:, :, None] * 2.0 ** torch.arange(waves)).flatten(1)
    x = torch.cat((angle.sin(), angle.cos()), 1) * 2**0.5
    return split(x, (y - y.mean(0)) / y.std(0), generator)


SIDE = 12  # pixels of a printed digit's image


def prints(generator: torch.Generator, n: int = 2000) -> Data:
    """Digits printed in three fonts: drawn font, size, place, angle, ink; with noise. x ``(n, 1, SIDE, SIDE)``."""
    from PIL import Image, ImageDraw, ImageFont

    folder = resources.files("lightning_diag.demo").joinpath("fonts")
    files = sorted(
        str(path) for path in folder.iterdir() if path.name.startswith("dejavu") and path.name.endswith("ttf")
    )
    fonts = [ImageFont.truetype(path, size) for path in files for size in (36, 44, 52)]
    y = torch.randint(0, 10, (n,), generator=generator)
    drawn = torch.rand(n, 5, generator=generator)
    pictures = np.empty((n, SIDE, SIDE), dtype=np.float32)
    for i, (digit, (font, left, up, angle, _)) in enumerate(zip(y.tolist(), drawn.tolist(), strict=True)):
        picture = Image.new("L", (64, 64))
        place = (28 + 8 * left, 28 + 8 * up)
        ImageDraw.Draw(picture).text(place, str(digit), 255, fonts[int(font * len(fonts))], anchor="mm")
        turned = picture.rotate(16 * (angle - 0.5), Image.Resampling.BILINEAR)
        pictures[i] = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX))
    x = torch.from_numpy(pictures)[:, None] / 255
    x = x * (0.5 + 0.5 * drawn[:, 4].view(-1, 1, 1, 1)) + 0.1 * torch.randn(x.shape, generator=generator)
    return split((x - x.mean()) / x.std(), y, generator)
