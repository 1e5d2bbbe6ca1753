"""Signals the page draws that are made from others: what people look at, where the record holds counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.report.series import Floats
from lightning_diag.signals import SIGNALS

# name -> (parts, whole): rows of the first over rows of the second, no value where the second is 0
RATIOS = {
    "class/recall": ("class/right", "class/support"),
    "class/precision": ("class/right", "class/predicted"),
    "class/train_recall": ("class/train_right", "class/train_support"),
}
# name -> counts: each row's share of the sum
SHARES = {
    "class/predicted_share": "class/predicted",
    "class/support_share": "class/support",
    "class/train_support_share": "class/train_support",
}
LARGEST = {"class/largest_share": "class/predicted"}  # name -> counts: the largest row's share of the sum
# name -> (moments, first column): mean of each row's n, sum, sum of squares, and its standard error beside it
MEANS = {
    "domain/val_error": ("domain/val_sums", 0),
    "domain/val_loss": ("domain/val_sums", 3),
    "domain/train_error": ("domain/train_sums", 0),
    "domain/train_loss": ("domain/train_sums", 3),
}
STANDARD_ERROR = "_se"
USED_UP = frozenset(part for parts in RATIOS.values() for part in parts)  # counts that aren't drawn themselves
_AXES = {
    **dict.fromkeys((*RATIOS, *SHARES), "class"),
    **dict.fromkeys((*MEANS, *(f"{name}{STANDARD_ERROR}" for name in MEANS)), "domain"),
}
# NaN in these is a value that went wrong; elsewhere it says that a row has no such number (no gate, no samples)
_NAN_IS_BAD = ("grad/", "weight/", "loss/", "lr")


def derived(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the derived signals of one reading.

    >>> made = derived({"class/right": np.array([3.0, 0.0]), "class/support": np.array([4.0, 0.0])})
    >>> made["class/recall"], made["class/support_share"]
    (array([0.75,  nan]), array([1., 0.]))
    """
    made: dict[str, Any] = {}
    if not any(signal.startswith(("class/", "domain/")) for signal in values):
        return made
    for name, (sums, column) in MEANS.items():
        moments = np.asarray(values.get(sums, ()), dtype=np.float64)
        if moments.ndim == 2 and moments.shape[1] >= column + 3 and (moments[:, column] > 0).any():
            made[name], made[f"{name}{STANDARD_ERROR}"] = _mean(*moments[:, column : column + 3].T)
    for name, (part, whole) in RATIOS.items():
        shapes = [np.shape(values[signal]) for signal in (part, whole) if signal in values]
        if len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 1:
            made[name] = _over(values[part], values[whole])
    for name, count in SHARES.items():
        if count in values and np.ndim(values[count]) == 1:
            made[name] = _over(values[count], np.full(np.shape(values[count]), np.nansum(values[count])))
    for name, count in LARGEST.items():
        total = np.nansum(values.get(count, 0.0))
        if total > 0 and np.ndim(values[count]) == 1:
            made[name] = np.float64(np.nanmax(values[count]) / total)
    return made


def _mean(n: Floats, total: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Mean and its standard error ``sqrt(variance / n)``, NaN without samples. Shapes ``(R,)``."""
    mean = _over(total, n)
    variance = np.maximum(_over(squares, n) - mean**2, 0.0) * _over(n, np.maximum(n - 1.0, 0.0))
    return mean, np.sqrt(_over(variance, n))


def axis_of(signal: str) -> str | None:
    """What the rows of an array signal are; None where it isn't known."""
    row = SIGNALS.get(signal)
    return _AXES.get(signal) if row is None else row.axis


def nan_is_missing(signal: str) -> bool:
    """Whether NaN in a signal's row says that the row has no such number."""
    return not signal.startswith(_NAN_IS_BAD)


def _over(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    made: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return made
