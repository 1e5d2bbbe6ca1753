"""What is remembered of each sample that passed: by its content hash, with bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_diag.streaming.meant_repeats import meant

CAPACITY = 2**22  # samples kept: 4.2 million, 49 bytes each, 206 MB
OFTEN = 5.0  # times the usual count from which a sample is generic: a blank image, a common phrase
NEWEST = 0.3  # smallest weight of the newest margin: the first ones, of an untrained network, fade
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio (Knuth, volume 3, section 6.4)
_BLOCK, _MOST = 2**13, 2**17  # rows that wait before they are sorted in: a quarter of those that are, within these
_FIELDS = (
    ("key", np.uint64), ("label", np.float32), ("odd", np.bool_), ("count", np.int32), ("epoch", np.int32),
    ("margin", np.float32), ("margins", np.int32), ("again", np.int32), ("other", np.float32), ("own", np.int64),
)  # fmt: skip

Rows = NDArray[np.float64]


class Margins(NamedTuple):
    """Samples with enough margins, N of them.

    Attributes:
        key: hash, ``(N,)``.
        label: given label, ``(N,)``.
        mean: running mean of the margin, ``(N,)``: of the first three, then exponential.
        counts: margins seen, ``(N,)``.
        other: best other label when it passed last, NaN unknown, ``(N,)``.
        own: the user's own id, -1 unknown, ``(N,)``.
    """

    key: NDArray[np.uint64]
    label: NDArray[np.float32]
    mean: NDArray[np.float32]
    counts: NDArray[np.int32]
    other: NDArray[np.float32]
    own: NDArray[np.int64]


class SampleLedger:
    """Counts samples by content: how often, in which epoch, with which label, with which margin.

    Beyond :data:`CAPACITY` different samples only those of half of all hashes are kept, then of a quarter ...: an even
    sample of the samples, so shares stay unbiased and ``kept_frac`` says how exact they are.

    Args:
        capacity: samples kept at most.

    >>> ledger = SampleLedger()
    >>> ledger.add(np.array([[0, 1, 2, 0, 3.0, 1, 7], [0, 4, 5, 1, 2.0, 0, 8], [0, 1, 2, 1, -1.0, 0, 9]]), epoch=0)
    >>> len(ledger), ledger.repeats_frac, ledger.conflict_frac
    (2, 0.3333333333333333, 0.5)
    >>> ledger.holds(np.array([[0, 4, 5], [0, 6, 7]])).tolist()
    [True, False]
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._table: dict[str, NDArray[Any]] = {name: np.empty(0, kind) for name, kind in _FIELDS}
        self._waiting: list[tuple[Rows, int]] = []
        self._rows_waiting = 0
        self._mask = np.uint64(0)
        self.rows = 0  # all rows of the part of the hashes that is kept
        self.repeats = 0  # of these, seen before in the same epoch
        self.later = 0  # rows of epochs after the first
        self.known = 0  # of these, seen in an earlier epoch

    def __len__(self) -> int:
        self._settle()
        return len(self._table["key"])

    @property
    def kept_frac(self) -> float:
        """Share of all samples that is kept."""
        return 1.0 / (int(self._mask) + 1)

    @property
    def passed(self) -> float:
        """Rows that have passed, those of samples that aren't kept included."""
        return self.rows / self.kept_frac

    @property
    def repeats_frac(self) -> float:
        """Share of rows that had passed before in the same epoch."""
        self._settle()
        return self.repeats / self.rows if self.rows else 0.0

    @property
    def odd_repeats_frac(self) -> float:
        """The same without repeats that have a reason (:func:`~.meant_repeats.meant`)."""
        share, table = self.repeats_frac, self._table
        if not share:
            return 0.0
        again = table["again"]
        reason = meant(table["label"], table["count"], again, OFTEN)
        return share * float(again[~reason].sum()) / max(1, int(again.sum()))

    @property
    def renewed_frac(self) -> float:
        """Share of rows of later epochs that had never passed before: 1 where inputs are augmented; NaN in epoch 0."""
        self._settle()
        return 1 - self.known / self.later if self.later else float("nan")

    @property
    def conflict_frac(self) -> float:
        """Share of samples that came with more than one label."""
        self._settle()
        return float(self._table["odd"].mean()) if len(self._table["odd"]) else 0.0

    def add(self, rows: Rows, epoch: int) -> None:
        """Take in rows ``(n, 7)``: three parts of the key, label, margin, best other label, own id (NaN = none)."""
        self._waiting.append((rows, epoch))
        self._rows_waiting += len(rows)
        if self._rows_waiting >= min(max(_BLOCK, len(self._table["key"]) // 4), _MOST):
            self._settle()

    def holds(self, parts: Rows, *, rare: bool = False) -> NDArray[np.bool_]:
        """Which of the keys ``(n, 3)`` have passed; with ``rare`` only those that come about as often as others."""
        self._settle()
        keys = joined(parts)
        table = self._table
        if not len(table["key"]):
            return np.zeros(len(keys), bool)
        place = np.searchsorted(table["key"], keys).clip(0, len(table["key"]) - 1)
        found: NDArray[np.bool_] = table["key"][place] == keys
        if rare:
            usual = OFTEN * max(1.0, float(np.median(table["count"])))
            found &= table["count"][place] <= usual
        return found

    def kept(self, parts: Rows) -> NDArray[np.bool_]:
        """Which of the keys ``(n, 3)`` belong to the part that is kept."""
        return _stays(joined(parts), self._mask)

    def margins(self, least: int) -> Margins:
        """Return the samples with at least so many margins."""
        self._settle()
        t = self._table
        enough = t["margins"] >= least
        return Margins(*(t[name][enough] for name in ("key", "label", "margin", "margins", "other", "own")))

    def columns(self, at_most: int = CAPACITY) -> dict[str, NDArray[Any]]:
        """Return what is known as arrays, for a checkpoint: an even sample of it where it is of more samples."""
        self._settle()
        table, mask = _thinned(self._table, self._mask, at_most)
        share = (int(self._mask) + 1) / (int(mask) + 1)
        counts = [int(n * share) for n in (self.rows, self.repeats, self.later, self.known)]
        return {**table, "counts": np.array([*counts, int(mask)], np.int64)}

    def take(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take back :meth:`columns`."""
        self._table = {name: np.array(columns[name]).astype(kind) for name, kind in _FIELDS}
        self.rows, self.repeats, self.later, self.known = (int(n) for n in columns["counts"][:4])
        self._mask = np.uint64(int(columns["counts"][4]))

    def _settle(self) -> None:
        waiting, self._waiting, self._rows_waiting = self._waiting, [], 0
        for epoch in dict.fromkeys(epoch for _, epoch in waiting):
            self._merge(np.concatenate([rows for rows, e in waiting if e == epoch]), epoch)
        self._table, self._mask = _thinned(self._table, self._mask, self.capacity)

    def _merge(self, rows: Rows, epoch: int) -> None:
        keys = joined(rows)
        stays = _stays(keys, self._mask)
        keys, rows = keys[stays], rows[stays]
        if not len(keys):
            return
        unique, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        label = rows[first, 3].astype(np.float32)
        odd = np.zeros(len(unique), bool)
        np.logical_or.at(odd, inverse, (rows[:, 3] != rows[first[inverse], 3]) & ~np.isnan(rows[:, 3]))
        measured = np.isfinite(rows[:, 4])
        margins = np.bincount(inverse, measured, len(unique)).astype(np.int32)
        sums = np.bincount(inverse, np.where(measured, rows[:, 4], 0.0), len(unique))
        margin = (sums / np.maximum(margins, 1)).astype(np.float32)
        table = self._table
        place = np.searchsorted(table["key"], unique)
        old = np.zeros(len(unique), bool)
        inside = place < len(table["key"])
        old[inside] = table["key"][place[inside]] == unique[inside]
        at = place[old]
        again = np.zeros(len(unique), bool)
        again[old] = table["epoch"][at] == epoch
        self.rows += len(keys)
        repeats = (counts - 1 + again).astype(np.int32)
        self.repeats += int(repeats.sum())
        if epoch > 0:
            self.later += int((~again).sum())
            self.known += int((old & ~again).sum())
        table["odd"][at] |= odd[old] | ((table["label"][at] != label[old]) & ~np.isnan(label[old]))
        table["count"][at] += counts[old].astype(np.int32)
        table["epoch"][at] = epoch
        table["again"][at] += repeats[old]
        weight = np.where(margins[old] > 0, np.maximum(1.0 / (table["margins"][at] + 1), NEWEST), 0.0)
        table["margin"][at] += (weight * (margin[old] - table["margin"][at])).astype(np.float32)
        table["margins"][at] += margins[old]
        other = rows[first, 5].astype(np.float32)
        table["other"][at] = np.where(np.isnan(other[old]), table["other"][at], other[old])
        own = np.where(np.isnan(rows[first, 6]), -1, rows[first, 6]).astype(np.int64)
        table["own"][at] = np.where(own[old] < 0, table["own"][at], own[old])
        new = ~old
        fresh = (unique[new], label[new], odd[new], counts[new].astype(np.int32), np.full(new.sum(), epoch, np.int32),
                 margin[new], margins[new], repeats[new], other[new], own[new])  # fmt: skip
        for (name, _), column in zip(_FIELDS, fresh, strict=True):
            table[name] = np.insert(table[name], place[new], column)


def _thinned(table: dict[str, NDArray[Any]], mask: np.uint64, size: int) -> tuple[dict[str, NDArray[Any]], np.uint64]:
    """Half of all hashes, then a quarter ..., until the table is small enough; and the mask that chose them."""
    while len(table["key"]) > size:
        mask = np.uint64(2 * int(mask) + 1)
        stays = _stays(table["key"], mask)
        table = {name: column[stays] for name, column in table.items()}
    return table, mask


def _stays(keys: NDArray[np.uint64], mask: np.uint64) -> NDArray[np.bool_]:
    """Which keys belong to the part that is kept: by the high bits of a product, as low bits are no good hash."""
    chosen: NDArray[np.bool_] = ((keys * _GOLDEN) >> np.uint64(40)) & mask == 0
    return chosen


def joined(rows: Rows) -> NDArray[np.uint64]:
    """Return the 63-bit keys of rows that begin with three parts of 21 bits, the lowest first."""
    low, middle, high = (rows[:, i].astype(np.uint64) for i in range(3))
    keys: NDArray[np.uint64] = low | (middle << np.uint64(21)) | (high << np.uint64(42))
    return keys
