from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from lightning_diag.detectors.class_drift import ClassDrift
from lightning_diag.errors import ConfigurationError, NotMeasurable
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading
from tests.detectors.class_stream import judged, only_errors, passed, uniform


def simulated(classes: int, n: int, seed: int, *, churn: float = 0.0, drift: float = 0.0, at: int = 12) -> bool:
    """Whether the rule fires in 30 evaluations of a binomial model whose errors fall from five times their end."""
    rng = np.random.default_rng(seed)
    base = rng.beta(1.5, 12, classes)
    readings = []
    for e in range(30):
        error = base * (1 + 4 * np.exp(-e / 4)) + churn * rng.normal(size=classes)
        error[0] = base[0] + drift if drift and e >= at else error[0]
        wrong = rng.binomial(n, np.clip(error, 0.001, 0.95))
        readings.append(only_errors(e, np.full(classes, n), wrong))
    return any(judged(ClassDrift(), readings))


@pytest.mark.parametrize(("classes", "n", "runs"), [(10, 100, 100), (10, 20, 100), (1000, 50, 100)])
def test_at_most_5_of_100_healthy_binomial_runs_fire(classes: int, n: int, runs: int) -> None:
    assert sum(simulated(classes, n, seed) for seed in range(runs)) <= 5


def test_classes_that_churn_do_not_fire_much_more() -> None:
    assert sum(simulated(10, 100, seed, churn=0.05) for seed in range(1000, 1100)) <= 8


def test_a_large_drift_is_found_and_named() -> None:
    assert sum(simulated(10, 178, seed, drift=0.4) for seed in range(50)) >= 42
    rng = np.random.default_rng(3)
    readings = []
    for e in range(14):
        error = np.where((np.arange(10) == 7) & (e >= 8), 0.30, 0.05)
        readings.append(only_errors(e, np.full(10, 178), rng.binomial(178, error)))
    said = judged(ClassDrift(), readings)
    found = next(f for f in said if f is not None)
    assert found.where == ("class 7",) and found.epoch == 9 and found.severity == Severity.WARNING
    assert "class 7: error" in found.message and "since epoch 8 (n=178" in found.message
    assert all(f is not None for f in said[9:])


def test_it_is_over_when_the_class_is_back() -> None:
    n = np.full(10, 200.0)
    errors = [10.0] * 8 + [80.0] * 3 + [10.0] * 3
    readings = [only_errors(e, n, np.where(np.arange(10) == 2, w, 10.0)) for e, w in enumerate(errors)]
    said = judged(ClassDrift(), readings)
    assert said[9] is not None and said[-1] is None


def test_five_samples_never_cry_wolf() -> None:
    readings = [only_errors(e, np.array([5.0, 200.0]), np.array([0.0 if e < 8 else 5.0, 10.0])) for e in range(14)]
    assert not any(judged(ClassDrift(), readings))


def test_a_trade_between_two_classes_is_a_note() -> None:
    before, after = uniform(5, 200), uniform(5, 200)
    before[1] = [0, 140, 60, 0, 0]
    before[2] = [0, 60, 140, 0, 0]
    after[1] = [0, 80, 120, 0, 0]
    after[2] = [0, 10, 190, 0, 0]
    said = judged(ClassDrift(), [passed(e, before if e < 8 else after) for e in range(12)])
    found = next(f for f in said if f is not None)
    assert found.severity == Severity.INFO and found.where == ("class 1",)


def test_everything_moving_early_is_not_judged() -> None:
    with pytest.raises(NotMeasurable, match="80 optimizer steps"):
        ClassDrift().update(only_errors(0, np.full(3, 50.0), np.zeros(3), step=10))
    with pytest.raises(NotMeasurable, match="validation passes"):
        ClassDrift().update(only_errors(0, np.full(3, 50.0), np.zeros(3)))
    with pytest.raises(NotMeasurable, match="no labelled sample"):
        ClassDrift().update(only_errors(0, np.zeros(3), np.zeros(3)))


def test_absent_classes_and_a_change_of_their_number_are_survived() -> None:
    n = np.array([100.0, 0.0, 100.0])
    readings = [only_errors(e, n, np.array([5.0, 0.0, 5.0])) for e in range(6)]
    readings += [only_errors(e, np.full(4, 100.0), np.full(4, 5.0)) for e in range(6, 14)]
    readings += [only_errors(e, np.full(4, 100.0), np.array([5.0, 60.0, 5.0, 5.0])) for e in range(14, 17)]
    said = judged(ClassDrift(), readings)
    assert not any(said[:14]) and said[-1] is not None and said[-1].where == ("class 1",)


def test_resuming_mid_stream_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    readings = [
        only_errors(e, np.full(6, 150.0), rng.binomial(150, np.where((np.arange(6) == 1) & (e >= 9), 0.4, 0.06)))
        for e in range(16)
    ]
    whole, first, second = ClassDrift(), ClassDrift(), ClassDrift()
    want = judged(whole, readings)
    got = judged(first, readings[:8])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert got + judged(second, readings[8:]) == want and any(want)


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"effect": -1}, {"support": 1}, {"memory": 1}, {"trade": 2}])
def test_wrong_arguments(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        ClassDrift(**wrong)  # type: ignore[arg-type]


def test_what_is_left_of_a_break_down_of_all_classes_is_no_warning() -> None:
    n, readings = np.full(10, 40.0), []
    for e in range(16):
        error = np.full(10, 0.9 if e in (8, 9) else 0.0)  # a bad batch: all classes, then all are back but for one
        error[9] = 0.075 if e > 9 else error[9]
        readings.append(only_errors(e, n, np.round(n * error)))
    assert {f.severity for f in judged(ClassDrift(), readings) if f is not None} == {Severity.INFO}


def severity_of(rest: float, before: float = 0.05, lost: int = 1, others_rise: float = 0.0) -> Severity:
    """Severity of a class that goes from ``before`` to an error of 95 % while the others stand at ``rest``."""
    n, readings = np.full(10, 200.0), []
    for e in range(14):
        error = np.full(10, rest + others_rise * (e >= 8))
        error[:lost] = 0.95 if e >= 8 else before
        readings.append(only_errors(e, n, np.round(n * error)))
    return next(f.severity for f in judged(ClassDrift(), readings) if f is not None)


def test_only_a_class_that_gets_worse_alone_in_a_model_that_has_learned_is_a_warning() -> None:
    assert severity_of(0.05) == Severity.WARNING
    assert severity_of(0.05, lost=5) == Severity.WARNING
    assert severity_of(0.28) == Severity.WARNING
    for rest in (0.34, 0.6):
        assert severity_of(rest) == Severity.INFO  # the others are hardly learned: losses go round
    assert severity_of(0.05, before=0.5) == Severity.INFO  # so little had been learned of it
    assert severity_of(0.05, lost=7) == Severity.INFO  # the whole model goes to pieces
    assert severity_of(0.05, others_rise=0.2) == Severity.INFO


def with_training(readings: list[Reading], k: int, errors: list[float]) -> list[Reading]:
    """Put counts of 50 training samples a class before each pass in, 10 % wrong; of class ``k`` these shares."""
    made = []
    for reading, error in zip(readings, errors, strict=True):
        n = np.full(reading.values["class/support"].size, 50.0)
        wrong = np.where(np.arange(n.size) == k, error, 0.1) * n
        first = {"class/train_support": 0.8 * n, "class/train_right": 0.8 * n - wrong}
        rest = {"class/train_support": 0.2 * n, "class/train_right": 0.2 * n}
        made.append(Reading(reading.step - 1, reading.epoch, first))  # 64 sampled batches were over
        made.append(dataclasses.replace(reading, values={**reading.values, **rest}))
    return made


def worst(readings: list[Reading]) -> Severity | None:
    found = [f.severity for f in judged(ClassDrift(), readings) if f is not None]
    return max(found) if found else None


def test_a_class_that_training_answers_as_before_only_wobbles() -> None:
    n = np.full(10, 200.0)
    readings = [only_errors(e, n, np.where((np.arange(10) == 2) & (e >= 8), 80.0, 10.0)) for e in range(12)]
    assert worst(readings) == Severity.WARNING, "nobody knows what training does"
    assert worst(with_training(readings, 2, [0.1] * 12)) == Severity.INFO
    assert worst(with_training(readings, 2, [0.1] * 8 + [0.4] * 4)) == Severity.WARNING
    assert worst(with_training(readings, 5, [0.1] * 8 + [0.4] * 4)) == Severity.INFO, "another class"
    last = judged(ClassDrift(), with_training(readings, 2, [0.1] * 8 + [0.4] * 4))[-1]
    assert last is not None and last.severity == Severity.WARNING, "it stays"


def test_a_trade_that_costs_the_class_in_training_is_a_warning() -> None:
    before, after = uniform(5, 200), uniform(5, 200)
    before[1] = [0, 150, 50, 0, 0]
    before[2] = [0, 60, 140, 0, 0]
    after[1] = [0, 80, 120, 0, 0]
    after[2] = [0, 10, 190, 0, 0]
    readings = [passed(e, before if e < 8 else after) for e in range(12)]
    assert worst(with_training(readings, 1, [0.25] * 8 + [0.3] * 4)) == Severity.INFO
    assert worst(with_training(readings, 1, [0.25] * 8 + [0.6] * 4)) == Severity.WARNING


def test_classes_that_come_later_may_cost_the_first_ones() -> None:
    first = np.arange(10) < 5
    late = [np.where(first, 4.0, 200.0)] * 3 + [np.where(first, 4.0, 30.0), np.full(10, 20.0), np.full(10, 20.0)]
    errors = [np.where(np.arange(10) == 2, 4.0 if e < 4 else 60.0, w) for e, w in enumerate(late)]
    assert worst([only_errors(e, np.full(10, 200.0), w) for e, w in enumerate(errors)]) == Severity.INFO


def test_a_class_that_was_learned_lately_had_been_learned() -> None:
    ours = [140.0, 120.0, 100.0, 80.0, 20.0, 200.0, 200.0]
    readings = [only_errors(e, np.full(10, 200.0), np.where(np.arange(10) == 2, w, 10.0)) for e, w in enumerate(ours)]
    assert worst(readings) == Severity.WARNING
