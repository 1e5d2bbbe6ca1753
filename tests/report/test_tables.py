"""From signals to tables and words."""

from __future__ import annotations

import numpy as np

from lightning_diag.report.grid import Grid
from lightning_diag.report.series import Series
from lightning_diag.report.tables import row_line, scalar_table, spread, summary, value_at


def test_near_a_finding_every_step_is_kept() -> None:
    series = Series()
    for step in range(5000):
        series.add(step, float(np.sin(step)))
    steps, (line,) = scalar_table(series, "x", 50, near=(1000, 1100))
    inside = (steps >= 1000) & (steps <= 1100)
    assert inside.sum() == 101
    assert len(steps) < 250
    assert (np.diff(steps) > 0).all()
    assert np.array_equal(line.values[inside], np.sin(np.arange(1000, 1101)))


def test_a_joined_column_is_drawn_by_its_lowest_and_highest_value() -> None:
    grid = Grid(columns=2)
    for step, value in enumerate([1.0, 9.0, 2.0, 3.0]):
        grid.add(step, np.array([value]))
    columns = grid.columns()
    steps, index = spread(columns)
    assert steps.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert row_line(columns, 0, index).tolist() == [1.0, 9.0, 2.0, 3.0]


def test_summary_says_when_nothing_was_finite() -> None:
    series = Series()
    assert summary(series) == "No value."
    series.add(7, float("nan"))
    assert summary(series) == "No finite value."
    series.add(8, 2.0)
    assert summary(series) == "2 from step 8 to step 8. Not finite at step 7."


def test_value_at_takes_the_last_known_one() -> None:
    steps, values = np.array([1.0, 5.0]), np.array([10.0, 50.0])
    assert [value_at(steps, values, at) for at in (0, 1, 4, 5, 9)] == [10.0, 10.0, 10.0, 50.0, 50.0]
    assert value_at(steps[:0], values[:0], 1) is None
