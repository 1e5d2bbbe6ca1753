from __future__ import annotations

from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from lightning_diag.demo.data import SYNTHETIC, real_digits
from lightning_diag.demo.rendering import FONTS, HANDWRITTEN, PRINTED, Look, _glyph, synthetic_digits

pytest.importorskip("PIL")

STILL = replace(PRINTED, height=(0.8, 0.8), shift=0.0, rotation=0.0, stroke=(1, 1), blur=(0.2, 0.2), noise=0.0)


def test_classes_are_balanced_and_values_are_ink() -> None:
    digits = synthetic_digits(203, seed=1, look=HANDWRITTEN)
    assert np.bincount(digits.labels).tolist() == [21, 21, 21, *[20] * 7]
    assert digits.images.shape == (203, 1, 8, 8)
    assert digits.images.dtype == np.float32
    assert 0 <= digits.images.min() < 0.05
    assert 0.95 < digits.images.max() <= 1
    assert (digits.domain == SYNTHETIC).all()


def test_the_seed_decides_everything() -> None:
    first, again, other = (synthetic_digits(30, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)


def test_none_is_an_empty_set() -> None:
    assert synthetic_digits(0).images.shape == (0, 1, 8, 8)


@pytest.mark.parametrize("font", FONTS)
def test_every_font_is_shipped_with_ten_different_digits_and_a_licence(font: str) -> None:
    glyphs = [np.asarray(_glyph(font, digit, 0).resize((32, 32)), dtype=float) for digit in range(10)]
    nearest = min(np.abs(a - b).mean() for i, a in enumerate(glyphs) for b in glyphs[:i])
    assert nearest > 10  # of 255: a missing glyph is drawn as the same box for all
    folder = resources.files("lightning_diag.demo") / "fonts"
    licences = [f.read_text() for f in folder.iterdir() if f.name.startswith("LICENSE")]
    assert any(f"{font}.ttf" in text for text in licences)


def _moments(look: Look) -> dict[str, float]:
    """Centre, extent, slant and ink of the mean of some digits."""
    images = synthetic_digits(100, seed=4, look=look).images[:, 0].astype(float)
    y, x = np.mgrid[:8, :8] - 3.5
    mass = images / images.sum((1, 2), keepdims=True)
    return {
        "height": float(np.sqrt((mass * y**2).sum((1, 2))).mean()),
        "width": float(np.sqrt((mass * x**2).sum((1, 2))).mean()),
        "slant": float(-(mass * x * y).sum((1, 2)).mean()),
        "jitter": float((mass * x).sum((1, 2)).std()),
        "ink": float(images.max((1, 2)).mean()),
        "mean": float(images.mean()),
        "paper": float(images[:, 0, 0].mean()),
        "rough": float(images[:, 0, 0].std()),
    }


@pytest.mark.parametrize(
    ("change", "grows"),
    [
        ({"height": (1.0, 1.0)}, "height"),
        ({"width": (1.4, 1.4)}, "width"),
        ({"shear": (0.3, 0.3)}, "slant"),
        ({"shift": 1.0}, "jitter"),
        ({"stroke": (3, 3)}, "mean"),
        ({"ink": (1.0, 1.0)}, "ink"),
        ({"paper": (0.3, 0.3)}, "paper"),
        ({"noise": 0.1}, "rough"),
    ],
)
def test_each_setting_does_what_it_says(change: dict[str, object], grows: str) -> None:
    before, after = _moments(STILL), _moments(replace(STILL, **change))  # type: ignore[arg-type]
    assert after[grows] > before[grows] + 0.01 * abs(before[grows]) + 1e-3


def test_blur_spreads_the_ink() -> None:
    sharp, soft = (_moments(replace(STILL, blur=(b, b))) for b in (0.05, 0.8))
    assert soft["ink"] < 0.8 * sharp["ink"]
    assert soft["mean"] == pytest.approx(sharp["mean"], rel=0.1)


def test_the_second_look_is_nearer_to_real_handwriting() -> None:
    pytest.importorskip("sklearn")
    real = real_digits()["train"].images
    gap = {
        name: np.abs(synthetic_digits(300, seed=2, look=look).images.mean(0) - real.mean(0)).mean()
        for name, look in (("printed", PRINTED), ("handwritten", HANDWRITTEN))
    }
    assert gap["handwritten"] < 0.5 * gap["printed"]
