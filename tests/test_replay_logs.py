"""Logs of simulated runs, healthy and broken, as somebody would have logged them every 1, 10 and 50 steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.loss_curves import HARD, HEALTHY, Run, fault
from lightning_diag import Severity, check
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError
from lightning_diag.logs import Log, open_log
from tests.test_replay import BROKEN, readings, write

INTERVALS = (1, 10, 50)
STEPS = 3000
# a loss of two values, one batch of one sample each: without its chance level no rule can tell it from a stuck one
HOPELESS = {"batch of 1, rare class 10 %", "batch of 1, rare class 40 %"}


def logged(run: Run, every: int, path: Path) -> Log:
    """The run as Lightning's CSVLogger and LearningRateMonitor would have written it."""
    steps, epoch = len(run.loss), len(run.loss) // 20
    lines = ["epoch,lr-AdamW,step,train_acc,train_loss,val_acc,val_loss"]
    for step in range(1, steps + 1):
        at, now = step - 1, (step - 1) // epoch
        if run.lr is not None and step % epoch == 1:
            lines.append(f",{run.lr[at]},{at},,,,")
        if step % every == 0:
            lines.append(f"{now},,{at},,{run.loss[at]},,")
        if step % epoch == 0:
            i = step // epoch - 1
            lines.append(f"{now},,{at},,,{run.accuracy[i]},{run.val[i]}")
            lines.append(f"{now},,{at},{run.train_accuracy[i]},,,")
    path.write_text("\n".join(lines) + "\n")
    return open_log(path)


def warnings_of(diagnosis: Diagnosis) -> set[str]:
    return {finding.rule for finding in diagnosis.findings if finding.severity >= Severity.WARNING}


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng([7, *name.encode()])


@pytest.mark.parametrize("every", INTERVALS)
@pytest.mark.parametrize("name", sorted(HEALTHY.keys() - HOPELESS))
def test_a_healthy_run_is_left_in_peace(name: str, every: int, tmp_path: Path) -> None:
    diagnosis = check(logged(HEALTHY[name](STEPS, generator(name)), every, tmp_path / "metrics.csv"))
    assert warnings_of(diagnosis) == set()
    assert {"loss/non-finite", "loss/diverging", "fit/overfitting"} <= set(diagnosis.coverage.ran)


@pytest.mark.parametrize("every", [10, 50])
@pytest.mark.parametrize("name", sorted(HARD))
def test_gaps_make_no_new_alarms_of_hard_runs(name: str, every: int, tmp_path: Path) -> None:
    assert warnings_of(check(logged(HARD[name](STEPS, generator(name)), every, tmp_path / "metrics.csv"))) == set()


@pytest.mark.parametrize("every", INTERVALS)
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("NaN for good", "loss/non-finite"),
        ("diverges slowly", "loss/diverging"),
        ("diverges fast", "loss/diverging"),
        ("overfits, and accuracy falls", "fit/overfitting"),
    ],
)
def test_a_broken_run_is_found(name: str, rule: str, every: int, tmp_path: Path) -> None:
    steps = 2 * STEPS  # every 50th: 120 losses, of which the median of 32 is compared
    run = fault(name, steps, generator(name))
    diagnosis = check(logged(run, every, tmp_path / "metrics.csv"))
    assert rule in warnings_of(diagnosis)
    (finding,) = (f for f in diagnosis.findings if f.rule == rule)
    assert abs(finding.first_step - run.onset) <= 0.2 * steps + 20 * every


def test_rules_that_need_every_step_say_so(tmp_path: Path) -> None:
    skipped = check(logged(fault("6 spikes", STEPS, generator("x")), 50, tmp_path / "metrics.csv")).coverage.skipped
    for rule in ("loss/spike", "loss/oscillating", "loss/plateau", "loss/not-learning", "fit/underfitting"):
        assert skipped[rule] == "needs the loss of every step, the CSV log holds about every 50th"
    assert skipped["gradients/vanishing"] == "the CSV log holds no column that is known to be it"


def test_at_every_step_a_log_is_judged_like_a_run(tmp_path: Path) -> None:
    run = fault("spike x10", STEPS, generator("spike"))
    (spike,) = (f for f in check(logged(run, 1, tmp_path / "metrics.csv")).findings if f.rule == "loss/spike")
    assert spike.step == run.onset


def test_a_path_to_a_log_and_names_of_its_columns(tmp_path: Path) -> None:
    log = logged(fault("NaN for good", STEPS, generator("nan")), 50, tmp_path / "metrics.csv")
    assert check(tmp_path) == check(str(log.path)) == check(log)
    renamed = (tmp_path / "metrics.csv").read_text().replace("train_loss", "nll")
    (tmp_path / "metrics.csv").write_text(renamed)
    assert "loss/non-finite" not in check(tmp_path).coverage.ran
    assert check(tmp_path, names={"loss/train": "nll"}).findings == check(log).findings


def test_names_are_not_for_records(tmp_path: Path) -> None:
    write(tmp_path, readings(BROKEN))
    with pytest.raises(ConfigurationError, match="names is for logs"):
        check(tmp_path, names={"loss/train": "nll"})
