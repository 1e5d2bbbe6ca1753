"""Figures of the fault zoo that the documentation draws: severities in order of harm, alarms per healthy step."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

pytest.importorskip("sklearn")

from benchmarks.zoo.curves import alarm_rate, poisson_upper, severity_curves
from benchmarks.zoo.grid import BOTH_WAYS, DOWNWARD, FAULTS, LAYERS, ladders
from benchmarks.zoo.grid import Config as Run
from benchmarks.zoo.harm import Harm
from benchmarks.zoo.outcome import Outcome, outcome
from benchmarks.zoo.replay import Alarm, Verdict
from benchmarks.zoo.score import figures
from benchmarks.zoo.tables import rule_table, severity_table
from lightning_diag.finding import Severity

RULE = "updates/too-small"


def made(operator: str, severity: float, label: str, at: int | None = None, seed: int = 10) -> Outcome:
    """A run of 1,000 steps that judged ``RULE`` and said it at step ``at``."""
    result = {"onset_step": 0, "steps": 1000, "where": []}
    alarms = () if at is None else (Alarm(RULE, Severity.WARNING, at, (), "..."),)
    return outcome(Run("mlp", operator, severity, seed), result, Harm(label, 0, 0, 0, 3), Verdict(alarms, ran=(RULE,)))


FOUND = [
    made("lr-down", 0.001, "harmful", 100),
    made("lr-down", 0.001, "harmful", 900, seed=11),
    made("lr-down", 0.01, "harmful"),
    made("lr-down", 0.01, "grey", seed=11),
    made("lr-down", 0.3, "benign", 100),
    made("lr-down", 0.3, "benign", seed=11),
    made("healthy", 0.0, "healthy"),
    made("cosine", 1.0, "healthy", 500),
]


@pytest.mark.parametrize(
    ("operator", "severities", "expected"),
    [
        ("lr-up", (100, 3, 30), {"lr-up": [3, 30, 100]}),
        ("lr-down", (0.001, 0.3, 0.03), {"lr-down": [0.3, 0.03, 0.001]}),
        ("batch-size", (1, 2, 4), {"batch-size": [4, 2, 1]}),
        ("hidden-bias", (-3, -0.5, -1), {"hidden-bias": [-0.5, -1, -3]}),
        ("input-scale", (100, 0.01, 10, 0.03), {"input-scale, up": [10, 100], "input-scale, down": [0.03, 0.01]}),
        ("input-scale", (0.03,), {"input-scale, down": [0.03]}),
        ("detached", (-1, 1, 0), {"detached": [0, 1, -1]}),
    ],
)
def test_severities_go_from_harmless_to_lethal(
    operator: str, severities: tuple[float, ...], expected: dict[str, list[float]]
) -> None:
    assert ladders(operator, severities) == expected


def test_every_severity_of_the_grid_stands_on_one_ladder() -> None:
    assert set(FAULTS) >= DOWNWARD | BOTH_WAYS | LAYERS
    for operator, (_, seen, unseen) in FAULTS.items():
        rungs = [s for ladder in ladders(operator, (*seen, *unseen)).values() for s in ladder]
        assert sorted(rungs) == sorted({*seen, *unseen})
        if operator not in BOTH_WAYS | LAYERS:
            assert (operator in DOWNWARD) == all(abs(a) > abs(b) for a, b in pairwise(rungs)) or len(rungs) == 1


def test_a_point_counts_the_runs_of_a_severity() -> None:
    assert severity_curves(FOUND) == {
        "lr-down": [
            {"severity": 0.3, "harmful": 0, "hits": 0, "on_time": 0, "benign": 2, "benign_alarms": 1, "grey": 0},
            {"severity": 0.01, "harmful": 1, "hits": 0, "on_time": 0, "benign": 0, "benign_alarms": 0, "grey": 1},
            {"severity": 0.001, "harmful": 2, "hits": 2, "on_time": 1, "benign": 0, "benign_alarms": 0, "grey": 0},
        ]
    }
    assert "| lr-down | 0.3: 0/0 (1/2 of the benign); 0.01: 0/1; 0.001: 2/2 |" in severity_table(FOUND)


def test_alarms_are_counted_over_healthy_steps_that_were_judged() -> None:
    rate = alarm_rate(FOUND, RULE)
    assert rate == {"alarms": 1, "steps": 2000, "rate": 5.0, "upper": pytest.approx(27.8582, abs=1e-3)}
    assert alarm_rate(FOUND) == rate
    assert alarm_rate(FOUND, "loss/spike") is None
    assert f"| {RULE} | 1/2 = 50 % [9, 91] | 1/2 = 50 % [9, 91] | 5.00 [27.86] |" in rule_table(FOUND)


@pytest.mark.parametrize(("count", "upper"), [(0, 3.6889), (1, 5.5716), (10, 18.3904)])  # tables of Garwood's interval
def test_upper_bound_of_a_poisson_mean(count: int, upper: float) -> None:
    assert poisson_upper(count) == pytest.approx(upper, abs=1e-3)


def test_the_figures_hold_them_as_plain_json() -> None:
    scores = json.loads(json.dumps(figures(FOUND), allow_nan=False))
    assert scores["severity"] == severity_curves(FOUND)
    assert scores["rules"][RULE]["per_10k_steps"]["alarms"] == 1
    assert scores["rules"]["loss/spike"]["per_10k_steps"] is None
    assert scores["together"]["recall"] == [2, 3]
    assert scores["together"]["per_10k_steps"]["steps"] == 2000
