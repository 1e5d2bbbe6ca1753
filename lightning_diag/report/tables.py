"""From signals to the tables of a line chart, and to the words below it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lightning_diag.report.charts import Line, Look
from lightning_diag.report.grid import Columns
from lightning_diag.report.series import Floats, Series, minmax
from lightning_diag.report.words import number


def scalar_table(
    series: Series, label: str, buckets: int, look: Look = "line", color: int = 0,
    near: tuple[int, int] | None = None,
) -> tuple[Floats, list[Line]]:  # fmt: skip
    """One scalar signal as a table; at full resolution inside ``near``."""
    steps, values = series.steps, series.values
    thin_steps, thin_values = minmax(steps, values, buckets)
    if near is not None and len(thin_steps) < len(steps):
        inside = (steps >= near[0]) & (steps <= near[1])
        outside = (thin_steps < near[0]) | (thin_steps > near[1])
        joined = np.r_[thin_steps[outside], steps[inside]]
        order = np.argsort(joined, kind="stable")
        thin_steps = joined[order]
        thin_values = np.r_[thin_values[outside], values[inside]][order]
    return thin_steps, [Line(label, thin_values, look, color)]


def spread(columns: Columns) -> tuple[Floats, NDArray[np.intp]]:
    """Steps at which the rows' extremes are drawn: a joined column gives two. Returns steps and column of each."""
    joined = columns.last > columns.first
    if not joined.any():
        return columns.first, np.arange(len(columns.first))
    index = np.repeat(np.arange(len(joined)), np.where(joined, 2, 1))
    steps = columns.first[index].copy()
    second = np.r_[False, index[1:] == index[:-1]]
    steps[second] = columns.last[index[second]]
    return steps, index


def row_line(columns: Columns, row: int, index: NDArray[np.intp]) -> Floats:
    """One row along :func:`spread`'s steps: its lowest, then its highest value in each joined column."""
    second = np.r_[False, index[1:] == index[:-1]]
    values: Floats = np.where(second, columns.high[index, row], columns.low[index, row])
    return values


def value_at(steps: Floats, values: Floats, step: int) -> float | None:
    """Last value at or before a step (the first one where there is none before)."""
    if not len(steps):
        return None
    return float(values[max(0, int(np.searchsorted(steps, step, side="right")) - 1)])


def summary(series: Series, say: Callable[[float], str] = number) -> str:
    """First, lowest, highest and last value in words.

    >>> s = Series()
    >>> for step, value in ((1, 2.0), (2, 5.0), (3, 1.0)):
    ...     s.add(step, value)
    >>> summary(s)
    'From 2 at step 1 to 1 at step 3; lowest 1 (step 3), highest 5 (step 2).'
    """
    steps, values = series.steps, series.values
    if not len(steps):
        return "No finite value." if series.bad else "No value."
    low, high = int(values.argmin()), int(values.argmax())
    if values[low] == values[high]:
        text = f"{say(values[low])} from step {int(steps[0]):,} to step {int(steps[-1]):,}."
        return text + _not_finite(series)
    text = (
        f"From {say(values[0])} at step {int(steps[0]):,} to {say(values[-1])} at step {int(steps[-1]):,}; "
        f"lowest {say(values[low])} (step {int(steps[low]):,}), highest {say(values[high])} "
        f"(step {int(steps[high]):,})."
    )
    return text + _not_finite(series)


def _not_finite(series: Series) -> str:
    if not series.bad:
        return ""
    more = "" if len(series.bad) == 1 and series.bad[0][0] == series.bad[0][1] else " and later"
    return f" Not finite at step {series.bad[0][0]:,}{more}."
