"""Line charts over the whole run."""

from __future__ import annotations

import numpy as np

from lightning_diag.reading import Facts, Reading
from lightning_diag.report.gather import Gathered, gather
from lightning_diag.report.timelines import SMOOTH, line_chart, loss_chart


def run(steps: int, **facts: float) -> Gathered:
    readings = [Reading(s, 0, {"loss/train": 1.0 / s, "lr": np.array([0.1, 0.2])}) for s in range(1, steps + 1)]
    readings.append(Reading(steps, 0, {"loss/val": 0.5, "accuracy/val": 0.75}, stage="validation"))
    return gather(readings, Facts(names={"group": ("decay", "none")}, **facts))  # type: ignore[arg-type]


def test_a_long_noisy_loss_gets_a_smooth_line_through_it() -> None:
    chart = loss_chart(run(500, chance_loss=2.3))
    assert chart is not None
    assert [lines[0].look for _, lines in chart.tables] == ["faint", "line", "dots"]
    assert chart.limits == [(2.3, "chance")]
    assert "From 1 at step 1 to 0.002 at step 500" in chart.caption
    assert "Validation loss. 0.5 from step 500" in chart.caption


def test_a_short_one_is_drawn_as_it_is() -> None:
    chart = loss_chart(run(SMOOTH))
    assert chart is not None
    assert [lines[0].look for _, lines in chart.tables] == ["line", "dots"]


def test_steps_with_a_loss_that_is_not_finite_are_marked() -> None:
    got = gather([Reading(s, 0, {"loss/train": np.nan if s in (3, 4) else 1.0}) for s in range(1, 9)], Facts())
    chart = loss_chart(got)
    assert chart is not None
    assert chart.bad == [[3, 4]]
    assert "Not finite at step 3 and later." in chart.caption


def test_the_rows_of_a_small_array_are_lines_with_their_names() -> None:
    got = run(5)
    columns = {"lr": got.grids["lr"].columns()}
    chart = line_chart(("lr",), got, columns, "low")
    assert chart is not None
    assert [line.label for line in chart.tables[0][1]] == ["decay", "none"]
    assert "none: from 0.2 at step 1 to 0.2 at step 5." in chart.caption


def test_shares_are_told_in_percent() -> None:
    chart = line_chart(("accuracy/train", "accuracy/val"), run(5), {}, "low")
    assert chart is not None
    assert chart.percent
    assert "75 % from step 5" in chart.caption


def test_what_was_not_measured_is_not_drawn() -> None:
    assert loss_chart(Gathered()) is None
    assert line_chart(("grad/norm",), Gathered(), {}, "low") is None
