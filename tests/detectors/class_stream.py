"""Simulated validation passes over classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading


def passed(epoch: int, confusion: Any, *, train: Any = None, planned: int | None = None, step: int = 100) -> Reading:
    """Return the reading of one validation pass with this confusion matrix (true x predicted)."""
    matrix = np.asarray(confusion, dtype=np.float64)
    values: dict[str, Any] = {
        "class/support": matrix.sum(1),
        "class/right": np.diag(matrix).copy(),
        "class/predicted": matrix.sum(0),
        "class/confusion": matrix,
    }
    if train is not None:
        values["class/train_support"] = np.asarray(train, dtype=np.float64)
    return Reading(step * (epoch + 1), epoch, values, Facts(planned_steps=planned), stage="validation")


def only_errors(epoch: int, n: NDArray[Any], wrong: NDArray[Any], step: int = 100) -> Reading:
    """Return a pass without a confusion matrix: support and errors per class."""
    n = np.asarray(n, dtype=np.float64)
    values = {"class/support": n, "class/right": n - wrong, "class/predicted": n}
    return Reading(step * (epoch + 1), epoch, values, stage="validation")


def judged(detector: Detector, readings: Sequence[Reading]) -> list[Finding | None]:
    """Return what the detector says of each reading, None also where it can't judge."""
    said: list[Finding | None] = []
    for reading in readings:
        try:
            said.append(detector.update(reading))
        except NotMeasurable:
            said.append(None)
    return said


def uniform(classes: int, n: int, error: float = 0.1) -> NDArray[np.float64]:
    """Return a confusion matrix whose errors spread evenly."""
    matrix = np.full((classes, classes), n * error / (classes - 1))
    np.fill_diagonal(matrix, n * (1 - error))
    return matrix
