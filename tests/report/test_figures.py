"""The small plot of a finding."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.report.charts import Chart
from lightning_diag.report.figures import NEAR, PLACES, THIN, figure
from lightning_diag.report.gather import gather

NAMES = tuple(f"net.{i}.weight" for i in range(20))


def drawn(finding: Finding, steps: int = 50, rows: int = 20, **facts: Any) -> Chart | None:
    """Plot of a finding in a run whose first rows rise at step 30; row i has the value i + 1 before."""
    readings = []
    for step in range(1, steps + 1):
        norms = np.arange(1.0, rows + 1)
        norms[:6] *= 100.0 if step >= 30 else 1.0
        readings.append(Reading(step, 0, {"grad/parameter_norm": norms, "loss/train": float(step)}))
    got = gather(readings, Facts(names={"parameter": NAMES[:rows]}, **facts))
    columns = {signal: grid.columns() for signal, grid in got.grids.items()}
    return figure(finding, got, columns, {"n": 1, "step": finding.first_step})


def found(rule: str, *where: str, step: int = 30, **more: Any) -> Finding:
    return Finding(rule, Severity.WARNING, step, 0, where, "m", **more)


def test_places_are_lines_before_a_band_of_the_others() -> None:
    chart = drawn(found("gradients/exploding", *NAMES[:6]))
    assert chart is not None
    ((_, lines),) = chart.tables
    assert [line.look for line in lines] == ["band"] + ["line"] * PLACES
    assert [line.label for line in lines[1:]] == list(NAMES[:PLACES])
    assert lines[1].values[[0, -1]].tolist() == [1.0, 100.0]
    low, high = lines[0].low, lines[0].values
    assert low is not None
    assert 7 <= low[0] < high[0] <= 20
    assert chart.marks == [{"n": 1, "step": 30}]
    assert "net.0.weight at step 30: 100." in chart.caption
    assert "first 4 of 6 places" in chart.caption
    assert "most of the other 14" in chart.caption


def test_a_few_others_are_drawn_one_by_one() -> None:
    chart = drawn(found("gradients/exploding", NAMES[0]), rows=THIN + 1)
    assert chart is not None
    assert [(line.label, line.color) for line in chart.tables[0][1][:THIN]] == [("the others", -1)] * THIN


def test_a_limit_is_drawn_only_where_the_rules_value_is_what_is_drawn() -> None:
    same = drawn(found("gradients/exploding", NAMES[0], evidence={"value": 99.0, "limit": 10.0}))
    other = drawn(found("gradients/exploding", NAMES[0], evidence={"value": 5.0, "limit": 4.0}))
    words = drawn(found("gradients/exploding", NAMES[0], evidence={"value": "nan", "limit": "finite"}))
    assert same is not None
    assert other is not None
    assert words is not None
    assert (same.limits, other.limits, words.limits) == ([(10.0, "limit")], [], [])


def test_chance_is_drawn_for_a_model_that_does_not_learn() -> None:
    chart = drawn(found("loss/not-learning"), chance_loss=2.3)
    assert chart is not None
    assert chart.limits == [(2.3, "chance")]


def test_a_short_event_in_a_long_run_opens_in_the_close_view() -> None:
    short = found("loss/spike", step=1500, status="resolved", first_step=1500, last_step=1502)
    long = found("loss/spike", step=1500, first_step=1500, last_step=2900, count=700)
    one, two, few = drawn(short, steps=3000), drawn(long, steps=3000), drawn(found("loss/spike"))
    assert one is not None
    assert two is not None
    assert few is not None
    assert (one.near, one.close) == ((1500 - NEAR, 1500 + NEAR), True)
    assert (two.near, two.close) == (one.near, False)
    assert few.near is None


def test_a_rule_without_a_signal_has_no_plot() -> None:
    assert drawn(found("setup/tiny-batch-norm")) is None


def test_places_beyond_the_record_leave_only_the_others() -> None:
    chart = drawn(found("gradients/vanishing", "gone.weight"))
    assert chart is not None
    assert chart.title in ("Gradient norm", "Training loss")


def test_trainings_on_one_batch_are_drawn_beside_each_other() -> None:
    curves = np.array([np.linspace(2.3, 2.2, 20), np.linspace(2.3, 0.1, 20)])
    readings = [Reading(1, 0, {"sanity/fit_loss": curves, "loss/train": 2.3}), Reading(2, 0, {"loss/train": 2.2})]
    got = gather(readings, Facts(names={"curve": ("own optimizer", "Adam 0.001")}))
    finding = found("sanity/cannot-overfit-batch", step=1)
    chart = figure(finding, got, {}, {"n": 1, "step": 1})
    assert chart is not None
    ((steps, lines),) = chart.tables
    assert steps[-1] == 20 and [line.label for line in lines] == ["own optimizer", "Adam 0.001"]
    assert "Adam 0.001 from 2.3 to 0.1" in chart.caption
