from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_diag.cli.comparison import compare, departure, findings, verdict
from lightning_diag.cli.differences import differences, settings
from lightning_diag.cli.measured import Curves, Measured, Number, measure
from lightning_diag.cli.student import two_sided_p
from lightning_diag.finding import Severity
from lightning_diag.logs.log import Log
from lightning_diag.logs.rows import Table
from lightning_diag.reading import Reading

STEPS = 400


def measured(seed: int, *, worse: float = 0.0, sd: float = 0.03, over: dict[str, float] | None = None) -> Measured:
    """A run whose loss falls from 2.3 to about 0.4, with noise of batches and between seeds."""
    rng = np.random.default_rng(seed)
    floor = 0.4 + worse + rng.normal(0, sd)
    readings = []
    for step in range(1, STEPS + 1):
        loss = floor + (2.3 - floor) * math.exp(-step / 60)
        values = {"loss/train": loss * math.exp(rng.normal(0, 0.1)), "grad/norm": math.exp(rng.normal(0, 0.3))}
        readings.append(Reading(step, 0, {**values, **(over or {})}))
        if step % 40 == 0:
            readings.append(
                Reading(step, 0, {"loss/val": loss * 1.1, "accuracy/val": 1 - loss / 3}, stage="validation")
            )
    curves = Curves.of(readings)
    return measure(curves, curves.last_step)


def verdicts(run: Measured, good: list[Measured]) -> dict[str, str]:
    return {item.quantity: item.verdict for item in compare(run, good)}


@pytest.mark.parametrize("dof", [1, 2, 3, 4, 7, 30])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, -2.5, 7.0, 60.0])
def test_students_t_is_scipys(t: float, dof: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert two_sided_p(t, dof) == pytest.approx(2 * stats.t.sf(abs(t), dof), abs=1e-12)


def test_what_is_measured() -> None:
    run = measured(0)
    assert set(run.numbers) == {
        "train-end", "train-floor", "improvement", "val-best", "val-end", "accuracy-best", "gradient-scale",
    }  # fmt: skip
    assert run.numbers["train-end"].value == pytest.approx(0.4, rel=0.2)
    assert 0 < run.numbers["train-end"].se < 0.05
    assert run.numbers["gradient-scale"].value == pytest.approx(0.0, abs=0.1)
    assert (run.finite, len(run.blocks)) == (1.0, 20)


def test_seeds_alone_are_rarely_called_worse() -> None:
    """The whole of a comparison, at most 5 % (its module's docstring has the figures of real trainings)."""
    calls = [verdicts(measured(10 * k), [measured(10 * k + i) for i in range(1, 4)]) for k in range(120)]
    assert sum("worse" in call.values() for call in calls) <= 6


@pytest.mark.parametrize(("n", "least"), [(3, 24), (4, 29)])
def test_a_worse_run_is_found(n: int, least: int) -> None:
    calls = [verdicts(measured(10 * k, worse=0.5), [measured(10 * k + i) for i in range(1, n + 1)]) for k in range(30)]
    assert sum("worse" in call.values() for call in calls) >= least


def test_a_worse_run_as_findings() -> None:
    good = [measured(i) for i in range(1, 5)]
    run = measured(0, worse=0.6)
    compared = compare(run, good)
    found = findings(compared, run, good, STEPS)
    assert {f.rule for f in found if f.severity == Severity.WARNING} >= {"compare/train-end", "compare/val-best"}
    (end,) = (f for f in found if f.rule == "compare/train-end")
    assert end.evidence["n"] == 4 and float(end.evidence["p"]) < 0.02 and end.evidence["limit"] == 0.05
    assert "than seeds explain" in end.message and "± " in end.message
    assert 1 <= end.first_step <= 140, "the loss leaves the others where their floors differ"
    assert verdict(found, compared, 4).startswith("WARNING: worse than 4 known-good runs.")


def test_a_better_run_is_no_warning() -> None:
    good, run = [measured(i) for i in range(1, 5)], measured(0, worse=-0.25)
    compared = compare(run, good)
    found = findings(compared, run, good, STEPS)
    assert found and max(f.severity for f in found) == Severity.INFO
    assert verdict(found, compared, 4).startswith("Not worse than 4 known-good runs; different")


def test_significant_but_tiny_is_the_same() -> None:
    good = [measured(i, sd=0.0) for i in range(1, 6)]
    assert "worse" not in verdicts(measured(0, worse=0.03, sd=0.0), good).values()


def test_runs_that_agree_by_luck_are_not_trusted_beyond_their_own_noise() -> None:
    def ended(value: float, se: float) -> Measured:
        return Measured({"train-end": Number(value, se), "improvement": Number(0.5, se)}, 0.9, np.zeros(20), 1.0)

    for se, told in ((0.05, "same"), (0.0, "worse")):
        good = [ended(value, se) for value in (0.4, 0.4001, 0.3999)]
        assert verdicts(ended(0.46, se), good)["train-end"] == told


def test_large_but_from_few_runs_is_unclear() -> None:
    good = [measured(1, sd=0.0), measured(2, sd=0.0, worse=0.1)]
    run = measured(0, worse=0.7)
    compared = compare(run, good)
    assert "unclear" in {item.verdict for item in compared}
    assert verdict(findings(compared, run, good, STEPS), compared, 2).startswith("May differ from 2 known-good runs")


def test_one_known_good_run_judges_nothing() -> None:
    run, good = measured(0, worse=1.0), [measured(1)]
    compared = compare(run, good)
    assert {item.verdict for item in compared} == {"unknown", "same"}
    assert all(math.isnan(item.p) and math.isnan(item.sd) for item in compared)
    found = findings(compared, run, good, STEPS)
    assert max(f.severity for f in found) == Severity.INFO
    assert "nobody knows whether it is noise" in verdict(found, compared, 1)
    again = compare(measured(2), good)
    assert "noise between seeds is not known" in verdict(findings(again, run, good, STEPS), again, 1)


def test_gradients_that_differ_alone_are_a_note() -> None:
    good = [measured(i) for i in range(1, 5)]
    run = measured(0, over={"grad/norm": 50.0})
    found = findings(compare(run, good), run, good, STEPS)
    assert [(f.rule, str(f.severity)) for f in found] == [("compare/gradient-scale", "info")]
    assert "times" in found[0].message


def test_a_run_that_ended_on_nan() -> None:
    good, run = [measured(i) for i in range(1, 4)], measured(0, over={"loss/train": math.nan})
    found = findings(compare(run, good), run, good, STEPS)
    assert (found[0].rule, found[0].severity) == ("compare/not-finite", Severity.CRITICAL)


def test_nothing_shared_is_not_compared() -> None:
    empty = measure(Curves.of([]), 0)
    assert compare(empty, [empty]) == []
    assert verdict([], [], 1).startswith("Not compared")


def test_departure_is_where_the_loss_leaves_for_good() -> None:
    good = [measured(i) for i in range(3)]
    blocks = good[0].blocks.copy()
    blocks[12:] += 5
    assert departure(Measured({}, 2.3, blocks, 1.0), good, 400) == 241
    assert departure(good[0], good, 400) == 400


def test_settings_that_differ_come_first_where_the_others_agree() -> None:
    found = differences(
        {"a": 1, "b": 2.0, "same": [1, 2], "new": 3},
        [{"a": 2, "b": 1.0, "same": (1, 2)}, {"a": 3, "b": 1.0, "same": (1, 2)}],
    )
    assert [(d.name, d.sure) for d in found] == [("b", True), ("new", True), ("a", False)]
    assert found[0].to_dict() == {"name": "b", "run": 2.0, "baselines": [1.0, 1.0], "baselines_agree": True}


def test_settings_of_a_log_are_its_config() -> None:
    from pathlib import Path

    log = Log(
        Path("x"), Table("W&B log", (), config={"lr": 0.1, "net": {"width": 8}, "old": {"value": 3, "desc": None}}), {}
    )
    assert settings(log, Curves.of([])) == {"steps": 0, "lr": 0.1, "net.width": 8, "old": 3}
