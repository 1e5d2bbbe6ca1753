from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lightning_diag.detectors.fit_overfitting import FitOverfitting
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading
from tests.detectors.loss_stream import Array, News, known, noise, reason, stream, told, watch

EVALS = 20


def run(
    val: Sequence[float] | Array,
    accuracy: Sequence[float] | Array | None = None,
    train_accuracy: Sequence[float] | Array | None = None,
    train: Array | None = None,
    *,
    n: int = 1000,
    samples: int = 1000,
    **facts: object,
) -> list[Reading]:
    """A run with one validation each ``n / len(val)`` steps; the training loss falls unless it is given."""
    every = n // len(val)
    vals: dict[int, dict[str, float]] = {}
    extra: dict[int, dict[str, float]] = {}
    for i, loss in enumerate(val):
        vals[(i + 1) * every] = {"loss/val": loss, "val/samples": samples}
        if accuracy is not None:
            vals[(i + 1) * every]["accuracy/val"] = accuracy[i]
        if train_accuracy is not None:
            extra[(i + 1) * every] = {"accuracy/train": train_accuracy[i]}
    losses = 2 * np.exp(-np.arange(n) / (0.2 * n)) * noise(n) if train is None else train
    return stream(losses, known(n, **facts), extra=extra, val=vals)


def rising(jitter: float = 0.01, seed: int = 0) -> Array:
    """A validation loss that is best at the 7th validation (index 6) and rises from there on."""
    i = np.arange(EVALS)
    wobble = jitter * np.random.default_rng(seed).standard_normal(EVALS)
    return 0.6 + np.exp(-i / 2) + 0.08 * np.maximum(0, i - 6) + wobble


def accuracies(fall: float = 0.0) -> tuple[Array, Array]:
    """Validation accuracy that ends at 0.7 and falls from the 7th validation on, train accuracy that ends at 1."""
    i = np.arange(EVALS)
    return 0.7 * (1 - np.exp(-(i + 1) / 2)) - fall * np.maximum(0, i - 6), 1 - np.exp(-(i + 1) / 4)


def worst(news: News) -> Severity:
    return max(f.severity for _, f in news)


@pytest.mark.parametrize("n", [200, 2000, 20_000])
def test_with_losses_only_a_rise_over_the_best_warns_and_names_the_best_step(n: int) -> None:
    news = watch(FitOverfitting(), run(rising(), n=n))
    step, found = news[0]
    assert found.severity == Severity.WARNING
    assert found.evidence["best_step"] == found.first_step and 6 <= found.first_step / (n / EVALS) <= 9
    assert step <= 14 * n // EVALS
    assert f"checkpoint of step {found.first_step}" in found.advice[0]
    assert float(found.evidence["value"]) > float(found.evidence["limit"])


def test_the_gap_and_a_worse_loss_warn() -> None:
    accuracy, train_accuracy = accuracies()
    assert worst(watch(FitOverfitting(), run(rising(), accuracy, train_accuracy))) == Severity.WARNING


def test_worse_accuracy_warns() -> None:
    accuracy, train_accuracy = accuracies(fall=0.02)
    flat = np.full(EVALS, 0.6)
    news = watch(FitOverfitting(), run(flat, accuracy, train_accuracy, planned_steps=None))  # the gap alone: a note
    assert worst(news) == Severity.WARNING and any("error rate" in f.message for _, f in news)


def test_a_loss_that_only_loses_calibration_is_info() -> None:
    accuracy, _ = accuracies()
    news = watch(FitOverfitting(), run(rising(), accuracy))
    assert worst(news) == Severity.INFO and "too sure of itself" in news[-1][1].message
    assert "temperature" in news[-1][1].advice[1]


def test_the_loss_of_a_language_model_is_what_counts() -> None:
    i = np.arange(EVALS)
    val, right = 2.5 + np.exp(-i / 2) + 0.02 * np.maximum(0, i - 6), np.full(EVALS, 0.3)  # as many right as before
    news = watch(FitOverfitting(), run(val, right, right, task="language-model"))
    assert worst(news) == Severity.WARNING and news[0][0] <= 750
    assert watch(FitOverfitting(), run(val, right, right)) == []


def test_a_language_model_far_better_on_texts_it_has_often_seen_warns() -> None:
    val, right = 1.6 + np.exp(-np.arange(EVALS)), np.full(EVALS, 0.3)  # validation only gets better

    def said(over: float, **facts: Any) -> list[int]:
        usual = {"task": "language-model", "steps_per_epoch": 10, "chance_loss": 2.0, **facts}
        news = watch(FitOverfitting(), run(val, right, right, val.repeat(50) - over, **usual))
        return [step for step, finding in news if finding.severity == Severity.WARNING]

    assert said(0.42) == [250]  # a quarter of the plan
    assert said(0.38) == []
    assert said(0.42, steps_per_epoch=150) == [750]  # the third validation of the fifth pass
    assert said(0.42, steps_per_epoch=250) == said(0.42, steps_per_epoch=None) == []
    assert said(0.42, chance_loss=None) == said(0.42, task="classification") == []


def test_a_gap_alone_warns_when_it_is_wide_sure_and_settled() -> None:
    accuracy, train_accuracy = accuracies()
    accuracy -= 0.05
    val = 0.6 + np.exp(-np.arange(EVALS) / 2)
    news = watch(FitOverfitting(), run(val, accuracy, train_accuracy))
    assert worst(news) == Severity.WARNING and "which has not become worse" in news[-1][1].message
    assert min(step for step, f in news if f.severity == Severity.WARNING) >= 250
    assert news[-1][1].evidence["limit"] == 0.3


def test_a_gap_alone_below_its_limit_is_a_note_while_validation_is_no_worse() -> None:
    val, train = 0.6 + np.exp(-np.arange(EVALS) / 2), np.full(EVALS, 0.99)
    news = watch(FitOverfitting(), run(val, np.full(EVALS, 0.7), train))
    assert worst(news) == Severity.INFO and news[-1][1].evidence["limit"] == 0.15
    assert worst(watch(FitOverfitting(alone=0.28), run(val, np.full(EVALS, 0.7), train))) == Severity.WARNING
    assert worst(watch(FitOverfitting(), run(rising(), np.full(EVALS, 0.7), train))) == Severity.WARNING  # it is worse


def test_a_training_set_learned_by_heart_is_a_note() -> None:
    val, right = 0.6 + np.exp(-np.arange(EVALS) / 2), np.full(EVALS, 0.9)
    news = watch(FitOverfitting(), run(val, right, np.full(EVALS, 1.0)))
    assert worst(news) == Severity.INFO and news[0][1].evidence["limit"] == 0.07
    assert watch(FitOverfitting(), run(val, right, np.full(EVALS, 0.98))) == []
    assert watch(FitOverfitting(), run(val, right + 0.05, np.full(EVALS, 1.0))) == []


def test_few_samples_a_class_learned_by_heart_are_a_warning_after_a_quarter_of_the_plan() -> None:
    val, right = 0.6 + np.exp(-np.arange(EVALS) / 2), np.full(EVALS, 0.9)

    def said(samples: float, train: float = 0.96) -> News:
        readings = run(val, right - (1 - train) * 0.5, np.full(EVALS, train))
        seen = Reading(1, 0, {"data/samples": np.float64(samples)}, known(1000))
        return watch(FitOverfitting(), [seen, *readings])

    news = said(500, 0.99)
    assert [(step, f.severity) for step, f in news][-1] == (250, Severity.WARNING)
    assert "500 different training samples are learned by heart" in news[-1][1].message
    assert worst(said(500)) == Severity.WARNING  # a running mean of 96 % is nearly there
    assert worst(said(501, 0.99)) == Severity.INFO and said(501) == []


def test_a_sure_gap_needs_three_validations() -> None:
    val, right = 0.6 + np.exp(-np.arange(EVALS) / 2), np.full(EVALS, 0.65)
    news = watch(FitOverfitting(), run(val, right, np.full(EVALS, 0.99)))
    assert [(step, f.severity) for step, f in news] == [(150, Severity.INFO), (250, Severity.WARNING)]


def test_a_gap_within_six_errors_or_without_a_plan_is_info() -> None:
    val, (accuracy, train_accuracy) = 0.6 + np.exp(-np.arange(EVALS) / 2), accuracies()
    assert worst(watch(FitOverfitting(), run(val, accuracy, train_accuracy, samples=80))) == Severity.INFO
    assert worst(watch(FitOverfitting(), run(val, accuracy, train_accuracy, planned_steps=None))) == Severity.INFO


def test_a_small_validation_set_needs_a_larger_gap() -> None:
    val, (accuracy, train_accuracy) = 0.6 + np.exp(-np.arange(EVALS) / 2), accuracies()
    assert watch(FitOverfitting(), run(val, accuracy, train_accuracy, samples=20)) == []


def test_one_uptick_is_silent() -> None:
    val = 0.6 + np.exp(-np.arange(EVALS) / 2)
    val[12:14] += 0.5  # two, one fewer than it takes
    assert watch(FitOverfitting(), run(val)) == []


@pytest.mark.parametrize("jitter", [0.0, 0.02, 0.1, 0.3])
def test_a_jittering_validation_is_silent(jitter: float) -> None:
    for seed in range(10):
        wobble = np.exp(jitter * np.random.default_rng(seed).standard_normal(60))
        assert watch(FitOverfitting(), run((0.6 + np.exp(-np.arange(60) / 6)) * wobble, n=3000)) == []


def test_when_the_training_loss_rises_too_it_is_not_overfitting() -> None:
    train = np.concatenate([np.linspace(2, 0.5, 350), np.linspace(0.5, 3, 650)]) * noise(1000)
    assert watch(FitOverfitting(), run(rising(), train=train)) == []


def test_a_tiny_rise_next_to_chance_is_silent() -> None:
    """A loss near zero doubles without a decision being touched."""
    assert watch(FitOverfitting(), run(0.01 * rising())) == []


def test_it_resolves_when_validation_recovers() -> None:
    val = rising()
    val[14:] = 0.5
    news = watch(FitOverfitting(), run(val))
    assert [s for _, _, s in told(news)] == ["open", "resolved"]


def test_nan_validations_are_skipped() -> None:
    val = rising()
    val[[2, 9, 12]] = np.nan
    assert worst(watch(FitOverfitting(), run(val))) == Severity.WARNING
    assert "needs 5 validations" in reason(FitOverfitting(), run(np.full(EVALS, np.nan)))


def test_too_few_validations_and_competing_losses_are_not_judged() -> None:
    assert "needs 5 validations" in reason(FitOverfitting(), run(rising()[:4]))
    assert "2 optimizers" in reason(FitOverfitting(), run(rising(), optimizers=("Adam", "Adam")))
    assert "no validation" in reason(FitOverfitting(), stream(noise(100), known(100)))
