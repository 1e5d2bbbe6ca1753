"""One pass over a record: every signal as a bounded series or grid, and the shape of the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Facts, Reading
from lightning_diag.report.derived import axis_of, derived, nan_is_missing
from lightning_diag.report.grid import Grid
from lightning_diag.report.series import Series

MAX_SIGNALS = 200  # a record made up to hurt can't fill the memory with signals
MAX_ROWS = 4096  # names an array may have; what is beyond is left out, and said


@dataclass
class Gathered:
    """What a record's readings hold.

    Attributes:
        facts: the last facts known.
        series: scalar signals.
        grids: array signals (a group's learning rate, a parameter's gradient norm).
        matrices: last value of each square array signal (a confusion matrix) and its step.
        epochs: ``(epoch, its first step)``.
        readings: readings read.
        first_step: first measured step; None with no reading.
        last_step: last measured step.
        ended: whether the run said that it came to its end.
        cut: signals whose array had more than :data:`MAX_ROWS` values.
    """

    facts: Facts = field(default_factory=Facts)
    series: dict[str, Series] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    matrices: dict[str, tuple[int, NDArray[np.float64]]] = field(default_factory=dict)
    epochs: list[tuple[int, int]] = field(default_factory=list)
    readings: int = 0
    first_step: int | None = None
    last_step: int = 0
    ended: bool = False
    cut: set[str] = field(default_factory=set)

    def names(self, signal: str) -> tuple[str, ...]:
        """Names of a grid's rows; numbers where the run gave no names."""
        return self.names_along(axis_of(signal) or "", self.grids[signal].rows if signal in self.grids else 0)

    def names_along(self, axis: str, rows: int) -> tuple[str, ...]:
        """Names of so many rows, as findings call them."""
        known = self.facts.names.get(axis, ())
        if axis == "class" and len(known) != rows < MAX_ROWS:
            known = ()  # names of something else
        known = known[:rows]
        word = f"{axis} " if axis in ("class", "domain") else ""
        return known + tuple(f"{word}{i}" for i in range(len(known), rows))

    def axis(self, signal: str) -> str:
        """What a grid's rows are."""
        return axis_of(signal) or "row"

    def epoch_of(self, step: int) -> int | None:
        """Epoch a step belongs to, as far as readings tell."""
        found = [epoch for epoch, first in self.epochs if first <= step]
        return found[-1] if found else None


def gather(readings: Iterable[Reading], facts: Facts) -> Gathered:
    """Read them all once.

    >>> got = gather([Reading(1, 0, {"loss/train": 2.0, "lr": np.array([0.1])})], Facts())
    >>> got.series["loss/train"].values.tolist(), got.grids["lr"].rows, got.last_step
    ([2.0], 1, 1)
    """
    got = Gathered(facts)
    for reading in readings:
        got.readings += 1
        if got.first_step is None:
            got.first_step = reading.step
        got.last_step = max(got.last_step, reading.step)
        if not got.epochs or reading.epoch > got.epochs[-1][0]:
            got.epochs.append((reading.epoch, reading.step))
        if reading.facts.names:
            got.facts = reading.facts
        for signal, value in reading.values.items():
            if signal == "run/ended":
                got.ended = True
            else:
                _take(got, signal, reading.step, value)
        for signal, made in derived(reading.values).items():
            _take(got, signal, reading.step, made)
    if facts.names:  # run.json is written last and knows best
        got.facts = facts
    return got


def _take(got: Gathered, signal: str, step: int, value: Any) -> None:
    dims = np.ndim(value)
    home: dict[str, Any] = got.series if dims == 0 else got.grids if dims == 1 else got.matrices
    if signal not in home:
        if len(got.series) + len(got.grids) + len(got.matrices) >= MAX_SIGNALS:
            return
        if dims < 2:
            home[signal] = Series() if dims == 0 else Grid(nan_is_missing(signal))
    if dims == 0:
        got.series[signal].add(step, float(value))
        return
    array = np.asarray(value, dtype=np.float64)
    if dims == 2 and len(array) <= MAX_ROWS:
        got.matrices[signal] = (step, array)
    elif dims == 1:
        if len(array) > MAX_ROWS:
            got.cut.add(signal)
        got.grids[signal].add(step, array[:MAX_ROWS])
