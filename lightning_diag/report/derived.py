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
USED_UP = frozenset(part for parts in RATIOS.values() for part in parts)  # counts that aren't drawn themselves
_AXES = {**dict.fromkeys(RATIOS, "class"), **dict.fromkeys(SHARES, "class")}
# NaN in these is a value that went wrong; elsewhere it says that a row has no such number (no gate, no samples)
_NAN_IS_BAD = ("grad/", "weight/", "loss/", "lr")


def derived(values: Mapping[str, Any]) -> dict[str, Floats]:
    """Return the derived signals of one reading.

    >>> made = derived({"class/right": np.array([3.0, 0.0]), "class/support": np.array([4.0, 0.0])})
    >>> made["class/recall"], made["class/support_share"]
    (array([0.75,  nan]), array([1., 0.]))
    """
    made: dict[str, Floats] = {}
    if not any(signal.startswith("class/") for signal in values):
        return made
    for name, (part, whole) in RATIOS.items():
        shapes = [np.shape(values[signal]) for signal in (part, whole) if signal in values]
        if len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 1:
            made[name] = _over(values[part], values[whole])
    for name, count in SHARES.items():
        if count in values and np.ndim(values[count]) == 1:
            made[name] = _over(values[count], np.full(np.shape(values[count]), np.nansum(values[count])))
    return made


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
