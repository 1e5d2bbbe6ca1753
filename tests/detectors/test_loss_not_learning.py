from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.loss_not_learning import LossNotLearning
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts
from tests.detectors.loss_stream import CHANCE, Array, decay, known, noise, reason, stream, told, watch


@pytest.mark.parametrize("n", [200, 2000, 20_000])
@pytest.mark.parametrize("sd", [0.02, 0.3])
def test_chance_level_warns_at_an_eighth_and_is_critical_at_half_of_the_plan(n: int, sd: float) -> None:
    news = watch(LossNotLearning(), stream(CHANCE * noise(n, sd) / np.exp(sd**2 / 2), known(n)))
    by_severity = {str(f.severity): (step, f) for step, f in reversed(news)}
    warned, lost = by_severity["warning"][0], by_severity["critical"][0]
    assert max(60, 0.12 * n) <= warned <= 0.2 * n + 60
    assert 0.5 * n <= lost <= 0.6 * n
    assert "no better than always guessing the label frequencies (2.3)" in by_severity["warning"][1].message


def test_a_long_plan_gets_a_note_long_before() -> None:
    news = watch(LossNotLearning(), stream(CHANCE * noise(10_000), known(200_000)))
    assert [s for _, s, _ in told(news)] == ["info"] and 8000 <= news[0][0] <= 9000


@pytest.mark.parametrize("floor", [0.2, 0.8, 1.2, 1.8, 2.1])
def test_learning_anything_is_silent(floor: float) -> None:
    for n in (200, 2000):
        losses = decay(n, floor=floor, tau=0.04) * noise(n, 0.1)
        assert watch(LossNotLearning(), stream(losses, known(n))) == []


def test_learning_after_all_resolves() -> None:
    n = 2000
    losses = CHANCE * np.where(np.arange(n) < 500, 1.0, 0.5) * noise(n)
    news = watch(LossNotLearning(), stream(losses, known(n)))
    assert [s for _, _, s in told(news)] == ["open", "resolved"] and news[-1][0] < 900


def test_a_slow_fall_that_gets_there_is_silent_one_that_does_not_warns() -> None:
    n = 2000
    t = np.arange(n) / n
    assert watch(LossNotLearning(), stream(CHANCE * (1 - 0.15 * t) * noise(n, 0.02), known(n))) == []
    slow = watch(LossNotLearning(), stream(CHANCE * (1 - 0.02 * t) * noise(n, 0.02), known(n)))
    assert {f.severity for _, f in slow} == {Severity.WARNING}  # below chance beyond doubt: learned little, not lost


def test_a_label_smoothing_floor_is_taken_off() -> None:
    """2.1 of 2.3 is 91 %, but with a floor of 1.9 half of all there is to gain."""
    losses = 2.22 * noise(1000, 0.02)
    assert watch(LossNotLearning(), stream(losses, known(1000))) == []  # 96.5 %
    assert watch(LossNotLearning(limit=0.9), stream(losses, known(1000))) != []
    assert watch(LossNotLearning(limit=0.9), stream(losses, known(1000, loss_floor=1.9))) == []  # 80 %


def test_it_waits_while_the_rate_rises() -> None:
    n = 2000
    lr = np.minimum(1.0, np.arange(1, n + 1) / 600) * 1e-3
    losses = CHANCE * noise(n) * np.where(np.arange(n) < 500, 1.0, 0.5)
    assert watch(LossNotLearning(), stream(losses, known(n), lr=lr)) == []
    assert watch(LossNotLearning(), stream(losses, known(n), lr=np.full(n, 1e-3))) != []


def test_a_spike_does_not_lift_a_low_loss_to_chance() -> None:
    losses = 0.3 * noise(1000)
    losses[400:415] = 1e6
    assert watch(LossNotLearning(), stream(losses, known(1000))) == []


def test_two_modes_of_a_tiny_batch_are_read_by_their_mean() -> None:
    for seed in range(40):
        losses = np.where(np.random.default_rng(seed).random(200) < 0.2, 2.0, 0.1)  # mean 0.48: 71 % of chance
        assert watch(LossNotLearning(), stream(losses, known(200, chance_loss=0.673))) == []


def unknown(n: int) -> Facts:
    return Facts(planned_steps=n, optimizers=("Adam",))


def flat(n: int, seed: int = 0) -> Array:
    return 0.7 * noise(n, seed=seed)


def test_with_unknown_chance_only_a_loss_that_fell_nowhere_warns_and_only_late() -> None:
    n = 2000
    losses = flat(n)
    losses[:10] = 0.7
    news = watch(LossNotLearning(), stream(losses, unknown(n)))
    assert {f.severity for _, f in news} == {Severity.WARNING} and news[0][0] >= 1000
    assert "than the first losses" in news[0][1].message
    fine_tuned = decay(n, 0.69, 0.3, start=0.7) * noise(n, 0.02)  # 98.6 % of its start, but it fell beyond doubt
    assert watch(LossNotLearning(), stream(fine_tuned, unknown(n))) == []


def test_a_run_watched_from_later_on_is_judged_only_with_chance_known() -> None:
    readings = stream(flat(2000), unknown(7000), first_step=5000)
    assert "watched from step 5000" in reason(LossNotLearning(), readings)
    assert watch(LossNotLearning(), stream(CHANCE * noise(2000), known(7000), first_step=5000)) != []


def test_an_unsettled_chance_loss_is_waited_for() -> None:
    """The entropy of the few labels seen first is too low: a loss that learns only seems to stand at it."""
    true, told_chance, readings = 4.6, 0.0, []
    for step, loss in enumerate(0.9 * true * noise(1000, 0.05), 1):
        estimate = true - 99 / (2 * step)  # 100 classes, 1 label a step
        if estimate > 0 and abs(estimate / told_chance - 1 if told_chance else 1) >= 0.02:
            told_chance = estimate
        readings += stream([loss], known(1000, chance_loss=told_chance or None), first_step=step)
    assert watch(LossNotLearning(), readings) == []


def test_competing_losses_are_not_judged() -> None:
    text = reason(LossNotLearning(), stream(CHANCE * noise(500), known(500, optimizers=("Adam", "Adam"))))
    assert "2 optimizers (Adam and Adam)" in text


def test_regressions_and_unknown_tasks_have_their_words() -> None:
    for task, words in (("regression", "always guessing the mean target"), (None, "the best constant prediction")):
        (_, found), *_ = watch(LossNotLearning(), stream(CHANCE * noise(500), known(500, task=task)))
        assert words in found.message


def test_without_a_plan_it_waits_for_500_steps_or_an_epoch_and_only_warns() -> None:
    losses = CHANCE * noise(3000)
    news = watch(LossNotLearning(), stream(losses, known(None)))
    assert {f.severity for _, f in news} == {Severity.WARNING} and 500 <= news[0][0] <= 520
    news = watch(LossNotLearning(), stream(losses, known(None, steps_per_epoch=2000)))
    assert 2000 <= news[0][0] <= 2050
