"""What W&B shows of classes beside scalars: a table, top confusions, and a heat map of error by class over passes."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Reading

MAX_PASSES = 100  # columns of the heat map; older passes are thinned by two
MAX_CLASSES = 50  # rows: the worst classes of the last pass. 50 x 100 cells make at most about 500 kB of SVG
MAX_PAIRS = 20
CELL = 10
CLASS_COLUMNS = ("class", "error", "precision", "samples", "training samples")
PAIR_COLUMNS = ("true class", "taken for", "samples", "share")


class ClassHistory:
    """Remembers validation passes within a bounded size; gives plain rows and an SVG.

    >>> history = ClassHistory()
    >>> values = {"class/support": np.array([4.0, 2.0]), "class/right": np.array([3.0, 2.0]),
    ...           "class/predicted": np.array([3.0, 3.0]), "class/confusion": np.array([[3.0, 1.0], [0.0, 2.0]])}
    >>> history.add(Reading(10, 0, values, stage="validation"))
    True
    >>> history.class_rows()[0]
    ['class 0', 0.25, 1.0, 4, 0]
    >>> history.pair_rows()
    [['class 0', 'class 1', 1, 0.25]]
    """

    def __init__(self) -> None:
        self._epochs: list[int] = []
        self._errors: list[NDArray[np.float64]] = []
        self._last: Reading | None = None
        self._train: NDArray[np.float64] = np.zeros(0)

    def add(self, reading: Reading) -> bool:
        """Take in a reading; returns whether it was a validation pass over classes."""
        train = reading.vector("class/train_support")
        if train is not None:
            self._train = train + (self._train if self._train.size == train.size else 0.0)
        support, right = reading.vector("class/support"), reading.vector("class/right")
        if support is None or right is None or "class/predicted" not in reading:
            return False
        if support.ndim != 1 or support.shape != right.shape or not np.isfinite([support, right]).all():
            return False
        if self._errors and self._errors[-1].size != support.size:
            self._epochs, self._errors = [], []
        self._last = reading
        self._epochs.append(reading.epoch)
        self._errors.append(1 - right / np.where(support > 0, support, np.nan))
        if len(self._errors) > MAX_PASSES:
            self._epochs, self._errors = self._epochs[::2], self._errors[::2]
        return True

    def class_rows(self) -> list[list[Any]]:
        """Return one row a class of the last pass, worst first, at most :data:`MAX_CLASSES`."""
        reading = self._last
        if reading is None:
            return []
        support, right = reading.vector("class/support"), reading.vector("class/right")
        predicted = reading.vector("class/predicted")
        assert support is not None and right is not None and predicted is not None
        names, error = self._names(support.size), self._errors[-1]
        precision = right / np.where(predicted > 0, predicted, np.nan)
        train = self._train if self._train.size == support.size else np.zeros(support.size)
        return [
            [names[k], _number(error[k]), _number(precision[k]), int(support[k]), int(train[k])]
            for k in self._worst()[:MAX_CLASSES]
        ]

    def pair_rows(self) -> list[list[Any]]:
        """Return the most frequent confusions of the last pass; empty above 64 classes."""
        matrix = None if self._last is None else self._last.vector("class/confusion")
        if matrix is None or matrix.ndim != 2 or not np.isfinite(matrix).all():
            return []
        off = matrix * (1 - np.eye(len(matrix)))
        names = self._names(len(matrix))
        order = np.argsort(-off, axis=None)[:MAX_PAIRS]
        pairs = [divmod(int(i), len(matrix)) for i in order]
        sums = np.maximum(matrix.sum(1), 1)
        return [[names[a], names[b], int(off[a, b]), float(off[a, b] / sums[a])] for a, b in pairs if off[a, b] > 0]

    def heat_map(self) -> str:
        """Return an SVG in HTML: a row a class (worst first), a column a pass, darker = more errors."""
        rows = self._worst()[:MAX_CLASSES]
        if not len(rows):
            return ""
        names = self._names(self._errors[-1].size)
        cells = []
        for y, k in enumerate(rows):
            label = escape(names[k][:40])
            cells.append(f'<text x="150" y="{y * CELL + 23}" text-anchor="end">{label}</text>')
            for x, error in enumerate(self._errors):
                value = float(error[k])
                fill, said = "#ddd", "no samples"
                if not np.isnan(value):
                    fill = f"rgb({int(255 - 215 * value)},{int(245 - 190 * value)},{int(250 - 110 * value)})"
                    said = f"{100 * value:.1f} % wrong"
                cells.append(
                    f'<rect x="{155 + x * CELL}" y="{y * CELL + 15}" width="{CELL}" height="{CELL}" fill="{fill}">'
                    f"<title>{label}, epoch {self._epochs[x]}: {said}</title></rect>"
                )
        width, height = 165 + CELL * len(self._errors), 35 + CELL * len(rows)
        head = f'<text x="155" y="11">error by class, epoch {self._epochs[0]} to {self._epochs[-1]}</text>'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="9" '
            f'font-family="sans-serif">{head}{"".join(cells)}</svg>'
        )

    def _worst(self) -> list[int]:
        if not self._errors:
            return []
        error = np.nan_to_num(self._errors[-1], nan=-1.0)
        return [int(k) for k in np.argsort(-error, kind="stable")]

    def _names(self, classes: int) -> tuple[str, ...]:
        given = () if self._last is None else self._last.names("class")
        return given if len(given) == classes else tuple(f"class {k}" for k in range(classes))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
