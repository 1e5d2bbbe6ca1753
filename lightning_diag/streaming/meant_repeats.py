"""Which samples come several times an epoch for a reason."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MINORITY = 0.5  # a class of fewer different samples than this share of the largest is a minority ...
REPEATED = 0.2  # ... that is oversampled where so many of its samples come again: copies by mistake hit all classes


def meant(
    label: NDArray[np.float32], count: NDArray[np.int32], again: NDArray[np.int32], often: float
) -> NDArray[np.bool_]:
    """Return which of N samples repeat for a reason: generic ones (blank images), and those of an oversampled minority.

    Args:
        label: class, NaN = none.
        count: how often it has passed.
        again: how often of these it had passed in the same epoch.
        often: times the usual count from which a sample is generic.

    >>> label, again = np.array([0, 0, 0, 0, 0, 1, 1], np.float32), np.array([0, 0, 0, 0, 1, 3, 3], np.int32)
    >>> meant(label, again + 1, again, 5.0).tolist()
    [False, False, False, False, False, True, True]
    """
    if not len(label):
        return np.zeros(0, bool)
    generic: NDArray[np.bool_] = count > often * max(1.0, float(np.median(count)))
    known = np.isfinite(label) & (label >= 0)
    classes, place = np.unique(label[known], return_inverse=True)
    if len(classes) < 2:
        return generic
    size = np.bincount(place)
    repeated = np.bincount(place, again[known] > 0) / size
    oversampled = (size < MINORITY * size.max()) & (repeated >= REPEATED)
    generic[known] |= oversampled[place]
    return generic
