"""Samples that are nearly the same as others, from their sketches, with bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CAPACITY = 2**16  # training samples whose sketches are kept: 48 bytes each, 3 MB
ASKED = 2**13  # samples looked up at a time, an even share of more
DIFFER = 3  # signs of 120 in which near samples may differ: then at least two of the five bands are equal
CANDIDATES = 32  # samples compared that share a band
_BANDS = slice(1, 6)

Rows = NDArray[np.float64]


class NearMatches:
    """The sketches of the first training samples; tells which others have a near one among them.

    Args:
        capacity: sketches kept at most.

    >>> near = NearMatches()
    >>> near.add(np.array([[1, 0, 0, 7, 7, 7, 7, 7], [2, 0, 0, 0, 1, 2, 4, 8]]))
    >>> near.found(np.array([[3, 0, 0, 7, 7, 7, 6, 3], [4, 0, 0, 9, 9, 9, 9, 9], [1, 0, 0, 7, 7, 7, 7, 7]])).tolist()
    [True, False, False]
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._rows: NDArray[np.int64] = np.empty((0, 6), np.int64)
        self._orders: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Rows) -> None:
        """Take in training rows ``(n, 8)``: key in three parts, five bands; what is known already is left out."""
        joined = np.concatenate([self._rows, _packed(rows)])
        _, first = np.unique(joined[:, 0], return_index=True)
        self._rows = joined[np.sort(first)][: self.capacity]
        self._orders = []

    def found(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows ``(n, 8)`` have a near sample of another content among those kept."""
        return self._found(_packed(rows))

    def share(self) -> float:
        """Return the share of the kept samples that have a near one among them; NaN without any."""
        if len(self) < 2:
            return float("nan")
        return float(self._found(self._rows[:: -(-len(self) // ASKED)]).mean())

    def _found(self, asked: NDArray[np.int64]) -> NDArray[np.bool_]:
        hit = np.zeros(len(asked), bool)
        if not len(self._rows) or not len(asked):
            return hit
        if not self._orders:
            self._orders = [np.argsort(self._rows[:, band], kind="stable") for band in range(1, 6)]
        for order, band in zip(self._orders, range(1, 6), strict=True):
            column = self._rows[order, band]
            start, stop = (np.searchsorted(column, asked[:, band], side) for side in ("left", "right"))
            for offset in range(CANDIDATES):
                there = np.flatnonzero((start + offset < stop) & ~hit)
                if not len(there):
                    break
                others = self._rows[order[start[there] + offset]]
                differ = _ones(asked[there, _BANDS] ^ others[:, _BANDS])
                hit[there] |= (differ <= DIFFER) & (others[:, 0] != asked[there, 0])
        return hit


def _packed(rows: Rows) -> NDArray[np.int64]:
    """Key in one number and the bands, ``(n, 6)``."""
    whole = rows.astype(np.int64)
    key = whole[:, 0] | whole[:, 1] << 21 | whole[:, 2] << 42
    return np.column_stack([key, whole[:, 3:8]])


def _ones(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bits of each row ``(n, 5)`` of 24-bit words are set."""
    counts = _BYTE[words & 255] + _BYTE[words >> 8 & 255] + _BYTE[words >> 16 & 255]
    total: NDArray[np.int64] = counts.sum(1)
    return total


_BYTE = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
