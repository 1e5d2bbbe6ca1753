from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.fit_underfitting import FitUnderfitting
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.loss_stream import CHANCE, Array, decay, known, noise, reason, stream, watch


def ended(losses: Array, val: float = float("nan"), facts: Facts | None = None) -> list[Reading]:
    n = len(losses)
    vals = {n: {"loss/val": val}} if val == val else None
    return stream(losses, facts or known(n), val=vals, end=True)


@pytest.mark.parametrize("n", [200, 2000, 20_000])
def test_still_falling_at_the_end_is_info(n: int) -> None:
    losses = (CHANCE - 1.2 * np.arange(n) / n) * noise(n)
    ((step, found),) = watch(FitUnderfitting(), ended(losses))
    assert step == found.step == n and found.severity == Severity.INFO
    assert "still falling at the end" in found.message and "twice as long" in found.advice[0]
    assert 0.02 < float(found.evidence["value"]) < 0.09 and found.evidence["limit"] == 0.01


def test_a_flat_high_end_is_info_and_a_warning_for_a_classifier_near_chance() -> None:
    for level, severity in ((0.5, Severity.INFO), (0.9, Severity.WARNING)):
        losses = decay(1000, floor=level * CHANCE, tau=0.05) * noise(1000, 0.05)
        ((_, found),) = watch(FitUnderfitting(), ended(losses, val=level * CHANCE))
        assert found.severity == severity and "ended flat" in found.message


def test_without_validation_or_with_two_classes_it_is_never_a_warning() -> None:
    losses = decay(1000, floor=0.9 * CHANCE, tau=0.05) * noise(1000, 0.05)
    for readings in (ended(losses), ended(losses, 2.1, known(1000, num_classes=2))):
        assert [f.severity for _, f in watch(FitUnderfitting(), readings)] == [Severity.INFO]


@pytest.mark.parametrize("level", [0.02, 0.2])
def test_a_low_flat_end_is_silent(level: float) -> None:
    losses = decay(1000, floor=level * CHANCE, tau=0.05) * noise(1000)
    assert watch(FitUnderfitting(), ended(losses, level * CHANCE)) == []


def test_validation_above_training_is_no_underfitting() -> None:
    losses = decay(1000, floor=0.5 * CHANCE, tau=0.05) * noise(1000, 0.05)
    assert watch(FitUnderfitting(), ended(losses, val=0.7 * CHANCE)) == []


def test_at_chance_it_leaves_the_word_to_not_learning() -> None:
    assert watch(FitUnderfitting(), ended(CHANCE * noise(1000, 0.05), CHANCE)) == []


def test_language_models_end_high_in_health() -> None:
    losses = decay(1000, floor=0.55 * CHANCE, tau=0.05) * noise(1000, 0.05)
    assert watch(FitUnderfitting(), ended(losses, 0.55 * CHANCE, known(1000, task="language-model"))) == []


def test_with_unknown_chance_only_the_slope_counts() -> None:
    facts = Facts(planned_steps=1000, optimizers=("Adam",))
    assert watch(FitUnderfitting(), ended(decay(1000, 1.6, 0.05) * noise(1000, 0.05), 1.6, facts)) == []
    falling = np.linspace(3, 1.5, 1000) * noise(1000, 0.05)
    assert len(watch(FitUnderfitting(), ended(falling, facts=facts))) == 1


def test_a_run_that_ended_early_or_was_short_is_not_judged() -> None:
    losses = np.linspace(2, 1, 500) * noise(500)
    assert "ended at 50 %" in reason(FitUnderfitting(), ended(losses, facts=known(1000)))
    assert "needs 100 steps" in reason(FitUnderfitting(), ended(losses[:60]))
    assert "when the run ends" in reason(FitUnderfitting(), stream(losses, known(500)))
    assert "2 optimizers" in reason(FitUnderfitting(), ended(losses, facts=known(500, optimizers=("Adam",) * 2)))


def test_one_late_spike_hides_no_slope() -> None:
    losses = (CHANCE - 1.2 * np.arange(1000) / 1000) * noise(1000, 0.05)
    losses[950] = 500.0
    assert len(watch(FitUnderfitting(), ended(losses))) == 1
