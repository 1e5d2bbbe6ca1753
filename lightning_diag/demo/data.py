"""Digits as arrays: real handwriting from scikit-learn, its splits, and batches for a Trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.utils.data import DataLoader, Dataset

SYNTHETIC, REAL = 0, 1
DOMAIN_NAMES = ("synthetic", "real")
CLASS_NAMES = tuple(f"digit {k}" for k in range(10))
SIDE = 8  # pixels: the size of scikit-learn's digits
SPLITS = {"train": 0.5, "val": 0.25, "test": 0.25}


@dataclass(frozen=True)
class Digits:
    """Labelled images of digits. N samples.

    Args:
        images: ``(N, 1, 8, 8)`` float32, ink from 0 (paper) to 1 (full).
        labels: ``(N,)`` int64, 0 to 9.
        domain: ``(N,)`` int64, 0 = synthetic, 1 = real.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    domain: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Digits) -> Digits:
        return Digits(
            np.concatenate((self.images, other.images)),
            np.concatenate((self.labels, other.labels)),
            np.concatenate((self.domain, other.domain)),
        )

    def take(self, n: int) -> Digits:
        """Return the first ``n`` samples; raise ``ValueError`` when there are fewer."""
        if not 0 <= n <= len(self):
            raise ValueError(f"n must be from 0 to {len(self)}, got {n}")
        return self.only(np.arange(n))

    def only(self, index: NDArray[np.integer[Any]]) -> Digits:
        """Return the samples at these positions, in their order."""
        return Digits(self.images[index], self.labels[index], self.domain[index])

    def repeated(self, times: int) -> Digits:
        """Return every sample ``times`` times: what is drawn at random from it comes up so much more often."""
        return self.only(np.tile(np.arange(len(self)), times))


class Samples(list[dict[str, Any]]):
    """A map-style data set that says what its labels and domains are called, as torchvision's do with ``classes``."""

    classes = CLASS_NAMES
    domain_names = DOMAIN_NAMES


def real_digits(seed: int = 0) -> dict[str, Digits]:
    """Return scikit-learn's 1797 handwritten digits, shuffled by the seed and split into train, val and test.

    They are the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak, 1998), written by
    13 people; scikit-learn ships them, nothing is downloaded. Ink counts 0..16 become 0..1. Nobody noted who wrote
    which digit, so the splits share their writers.

    >>> {name: len(part) for name, part in real_digits().items()}
    {'train': 898, 'val': 449, 'test': 450}
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - extra "demo"

    bunch: Any = load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    images = (bunch.images[order, None] / 16).astype(np.float32)
    labels = bunch.target[order].astype(np.int64)
    bounds = np.cumsum([int(share * len(order)) for share in list(SPLITS.values())[:-1]])
    parts = zip(np.split(images, bounds), np.split(labels, bounds), strict=True)
    return {name: Digits(x, y, np.full(len(y), REAL, np.int64)) for name, (x, y) in zip(SPLITS, parts, strict=True)}


def batches(digits: Digits, batch_size: int = 64, *, shuffle: bool = False, seed: int = 0) -> DataLoader[Any]:
    """Return a loader of dicts ``image`` (B, 1, 8, 8), ``label`` (B,), ``domain`` (B,), in an order of its own seed."""
    import torch  # noqa: PLC0415 - slow to import
    from torch.utils.data import DataLoader  # noqa: PLC0415

    samples = Samples(
        {"image": image, "label": label, "domain": domain}
        for image, label, domain in zip(
            torch.from_numpy(digits.images),
            torch.from_numpy(digits.labels),
            torch.from_numpy(digits.domain),
            strict=True,
        )
    )
    order = torch.Generator().manual_seed(seed)
    return DataLoader(cast("Dataset[Any]", samples), batch_size, shuffle=shuffle, generator=order)
