"""Other tools' published rules, on made-up runs: each fires where its own text says so, and not where it says not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.zoo import peers
from benchmarks.zoo.comparison import FAULTS, comparison
from benchmarks.zoo.grid import FAULTS as OPERATORS
from benchmarks.zoo.grid import SEEDS, Config
from benchmarks.zoo.harm import Harm
from benchmarks.zoo.outcome import outcome
from benchmarks.zoo.replay import Alarm, Verdict
from benchmarks.zoo.score import figures
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.record import RecordSink

FACTS = Facts(parameter_kind=("matrix", "matrix"), parameter_numel=(100, 100))
Curve = list[float]


def run(losses: Curve, **sampled: Any) -> list[Reading]:
    values = {name.replace("__", "/"): np.asarray(value, float) for name, value in sampled.items()}
    return [Reading(s, 0, {"loss/train": np.float64(v), **values}, FACTS) for s, v in enumerate(losses, start=1)]


def falling(n: int = 400) -> Curve:
    return [2.0 * 0.99**s + 0.01 for s in range(n)]


def spiked(length: int) -> Curve:
    losses = falling()
    losses[300 : 300 + length] = [5.0] * length
    return losses


def test_loss_spikes() -> None:
    assert peers.llm_foundry(run(falling())) is None is peers.spike_detection(run(falling()))
    assert peers.llm_foundry(run(spiked(4))) is None and peers.llm_foundry(run(spiked(5))) == 305
    assert peers.spike_detection(run(spiked(1))) == 301
    assert peers.spike_detection(run([1.0, 1.0, float("nan")])) == 3


def test_sagemaker() -> None:
    assert peers.loss_not_decreasing(run(falling(100))) is None
    assert peers.loss_not_decreasing(run([1.0] * 20)) == 11
    assert peers.sagemaker_gradients(run([1.0], grad__parameter_norm=[1.0, 1e-7])) == 1
    assert peers.sagemaker_gradients(run([1.0], grad__parameter_norm=[1.0, 1.0])) is None
    assert peers.sagemaker_updates(run([1.0], update__parameter_ratio=[1e-3, 1e-9])) == 1
    assert peers.sagemaker_units(run([1.0], activation__dead_frac=[0.1, 0.6])) == 1
    val = [Reading(20, 0, {"loss/val": np.float64(1.2)}, FACTS, stage="validation")]
    assert peers.sagemaker_overfit([*run([1.0] * 20), *val]) == 20
    assert peers.sagemaker_overfit([*run([1.15] * 20), *val]) is None


def passes(accuracy: Curve) -> list[Reading]:
    every = 10
    return [
        Reading(every * (i + 1), i, {"accuracy/val": np.float64(a)}, FACTS, stage="validation")
        for i, a in enumerate(accuracy)
    ]


@pytest.mark.parametrize(("accuracy", "at"), [([0.1] * 10, 100), ([0.1, 0.3, 0.5, 0.8, 0.9, 0.9], None)])
def test_autotrainer_slow_convergence(accuracy: Curve, at: int | None) -> None:
    assert peers.autotrainer([*run(falling(100)), *passes(accuracy)]) == at


def test_autotrainer_exploding_gradient_after_30_percent_of_the_epochs() -> None:
    readings = sorted(
        [*run(falling(100), grad__parameter_norm=[100.0, 1.0]), *passes([0.1, 0.2, 0.3, 0.4])], key=lambda r: r.step
    )
    assert peers.autotrainer(readings) == 20
    assert peers.autotrainer(run([1.0, 2e3])) == 2


def test_over_a_record(tmp_path: Path) -> None:
    sink = RecordSink()
    sink.open(RunInfo(tmp_path, "run"))
    sink.block(run(spiked(6)))
    sink.close(Diagnosis())
    assert peers.first_alarms(tmp_path)["llm-foundry KillLossSpike"] == 305


def test_every_fault_stands_in_one_class() -> None:
    listed = [operator for operators in FAULTS.values() for operator in operators]
    assert sorted(listed) == sorted(OPERATORS)


def test_tables_and_figures_count_what_was_said() -> None:
    result = {"onset_step": 0, "steps": 100, "where": []}
    alarm = Alarm("updates/too-large", Severity.WARNING, 10, (), "...")
    quiet, loud = Verdict(ran=("updates/too-large",)), Verdict((alarm,), ran=("updates/too-large",))
    harmful, healthy = Harm("harmful", -0.5, 0.0, 9.0, 3), Harm("healthy", 0.0, 1.0, 0.0, 3)
    found = [
        outcome(Config("mlp", "lr-up", 100.0, SEEDS["report"][0]), result, harmful, loud),
        outcome(Config("mlp", "lr-up", 30.0, SEEDS["report"][0]), result, harmful, quiet),
        outcome(Config("mlp", "healthy", 0.0, SEEDS["report"][0]), result, healthy, quiet),
    ]
    rule = figures(found)["rules"]["updates/too-large"]
    assert rule.pop("per_10k_steps")["steps"] == 100
    assert rule == {"healthy": [0, 1], "benign": [0, 0], "recall": [1, 2], "delay": 0.1}
    assert figures(found)["set"] == "report" and figures(found)["runs"]["harmful"] == 2
    text = comparison(found, {"lightning_diag": [True, False, False], "other": [True, True, True]})
    assert "| lightning_diag | 0/1 = 0 % [0, 79] | - | 1/2 = 50 % [9, 91] | +0.50 |" in text
    assert "| learning rate | 2 | 1 | 2 |" in text
