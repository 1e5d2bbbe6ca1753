"""What W&B shows of labels that are probably wrong: one row a sample, with its picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Reading
from lightning_diag.sinks.suspects import whole

PICTURE_COLUMNS = ("sample", "given label", "suggested label", "score", "picture")
HEAD = 6  # columns of a picture's row before its pixels


class SuspectPictures:
    """The newest suspects with pictures, at most as many as the probe looks out for (16)."""

    def __init__(self) -> None:
        self._table: NDArray[np.float64] = np.empty((0, 9))
        self._pictures: dict[tuple[float, ...], NDArray[np.uint8]] = {}

    def add(self, reading: Reading) -> bool:
        """Take in a reading; returns whether it brought pictures."""
        table, rows = reading.vector("data/suspects"), reading.vector("data/suspect_pictures")
        if table is not None and table.ndim == 2:
            self._table = table
        if rows is None or rows.ndim != 2:
            return False
        self._pictures = {tuple(row[:3]): picture(row) for row in rows if np.isfinite(row).all()}
        return bool(self._pictures)

    def rows(self, names: tuple[str, ...]) -> list[list[Any]]:
        """Return cells, the picture ``(H, W, 3)`` or ``(H, W)`` last."""
        made: list[list[Any]] = []
        for row in self._table:
            shown = self._pictures.get(tuple(row[:3]))
            if shown is not None:
                key = f"{int(row[0]) | int(row[1]) << 21 | int(row[2]) << 42:016x}"
                labels = [_called(label, names) for label in row[4:6]]
                made.append([whole(row[3]) or key, *labels, float(f"{row[6]:.3g}"), shown])
        return made


def picture(row: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a picture's row as bytes, its darkest value 0 and its brightest 255.

    >>> picture(np.array([0, 0, 0, 1, 1, 2, -1.0, 1.0])).tolist()
    [[0, 255]]
    """
    shape = [int(n) for n in row[3:HEAD]]
    pixels = row[HEAD:].reshape(shape)
    spread = max(float(np.ptp(pixels)), 1e-12)
    scaled = (255 * (pixels - pixels.min()) / spread).round().astype(np.uint8)
    return scaled[0] if shape[0] == 1 else np.moveaxis(scaled, 0, -1)


def _called(label: float, names: tuple[str, ...]) -> str:
    if not np.isfinite(label):
        return ""
    return names[int(label)] if 0 <= label < len(names) else whole(label)
