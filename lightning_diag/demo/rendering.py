"""Synthetic digits: printed characters, drawn from four free fonts and put on 8x8 pixels like the real ones.

The fonts travel with the package (``fonts/``, each with its licence), so the images don't depend on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_diag.demo.data import SIDE, SYNTHETIC, Digits

if TYPE_CHECKING:
    from PIL.Image import Image

# font -> how much wider than designed it is drawn: Amatic is so narrow that its digits all look like a 1 on 8x8 pixels
FONTS = {"dejavu-sans": 1.0, "dejavu-serif": 1.0, "dejavu-sans-mono": 1.0, "amatic-sc-bold": 2.0}
CANVAS = 64  # pixels a side while drawing; 8 of them make one pixel of the digit
STROKES = (0, 1, 2, 3)  # pixels of the canvas by which the outline is thickened


@dataclass(frozen=True)
class Look:
    """How synthetic digits look: each pair is the range a sample draws from, evenly.

    Args:
        height: height of the digit over the image's height.
        width: width of the digit over its height, relative to the font's own.
        shift: largest offset from the centre, pixels of the 8x8 image.
        rotation: largest angle to either side, degrees.
        shear: slant to the right, horizontal over vertical.
        stroke: outline thickening, pixels of the 64x64 canvas (0 to 3, whole numbers).
        blur: standard deviation, pixels of the 8x8 image.
        ink: value of full ink (paper is 0).
        paper: value of empty paper.
        noise: standard deviation of pixel noise.
    """

    height: tuple[float, float] = (0.65, 0.8)
    width: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.5
    rotation: float = 3.0
    shear: tuple[float, float] = (0.0, 0.0)
    stroke: tuple[int, int] = (0, 1)
    blur: tuple[float, float] = (0.1, 0.3)
    ink: tuple[float, float] = (0.6, 0.9)
    paper: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.02


PRINTED = Look()  # what a first script draws: clean print, a margin around it, grey ink
HANDWRITTEN = (
    Look(  # nearer to the real ones: they fill the image, lean to the right, and their ink is full and of any width
        height=(0.9, 1.05),
        width=(0.8, 1.25),
        shift=0.4,
        rotation=8.0,
        shear=(-0.05, 0.35),
        stroke=(0, 3),
        blur=(0.15, 0.35),
        ink=(0.95, 1.15),
        noise=0.03,
    )
)


def synthetic_digits(n: int, seed: int = 0, look: Look = PRINTED) -> Digits:
    """Return ``n`` rendered digits, every class equally often (to within one), in random order.

    >>> digits = synthetic_digits(20, seed=1)
    >>> digits.images.shape, sorted(digits.labels.tolist()) == sorted([*range(10)] * 2)
    ((20, 1, 8, 8), True)
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 10).astype(np.int64)
    images = np.stack([_draw(int(label), look, rng) for label in labels]) if n else np.zeros((0, SIDE, SIDE))
    return Digits(images[:, None].astype(np.float32), labels, np.full(n, SYNTHETIC, np.int64))


def _draw(digit: int, look: Look, rng: np.random.Generator) -> NDArray[np.float64]:
    """One digit, (8, 8), ink 0 to 1."""
    from PIL import Image, ImageFilter  # noqa: PLC0415 - extra "demo"

    font, stretch = list(FONTS.items())[rng.integers(len(FONTS))]
    glyph = _glyph(font, digit, int(rng.integers(look.stroke[0], look.stroke[1] + 1)))
    placed = glyph.transform(
        (CANVAS, CANVAS), Image.Transform.AFFINE, _placement(glyph.size, stretch, look, rng), Image.Resampling.BILINEAR
    )
    pixel = CANVAS // SIDE
    blurred = placed.filter(ImageFilter.GaussianBlur(rng.uniform(*look.blur) * pixel)).reduce(pixel)
    cover = np.asarray(blurred, dtype=np.float64) / 255
    paper = rng.uniform(*look.paper)
    image = paper + (rng.uniform(*look.ink) - paper) * cover + rng.normal(0, look.noise, cover.shape)
    clipped: NDArray[np.float64] = np.clip(image, 0, 1)
    return clipped


@cache
def _glyph(font: str, digit: int, stroke: int) -> Image:
    """The digit in white on black, cropped to its ink."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - extra "demo"

    with resources.as_file(resources.files("lightning_diag.demo") / "fonts" / f"{font}.ttf") as path:
        face = ImageFont.truetype(str(path), CANVAS)
    image = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    ImageDraw.Draw(image).text((CANVAS // 2, CANVAS // 4), str(digit), fill=255, font=face, stroke_width=stroke)
    return image.crop(image.getbbox())


def _placement(size: tuple[int, int], stretch: float, look: Look, rng: np.random.Generator) -> tuple[float, ...]:
    """The six numbers of PIL's affine transform, which asks where on the glyph a pixel of the canvas comes from."""
    width, height = size
    scale = rng.uniform(*look.height) * CANVAS / height
    angle = np.deg2rad(rng.uniform(-look.rotation, look.rotation))
    shear = rng.uniform(*look.shear)
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forth = rotate @ np.array([[1, -shear], [0, 1]]) @ np.diag([scale * stretch * rng.uniform(*look.width), scale])
    back = np.linalg.inv(forth)
    centre = CANVAS / 2 + rng.uniform(-look.shift, look.shift, 2) * CANVAS / SIDE
    offset = np.array([width / 2, height / 2]) - back @ centre
    return (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])
