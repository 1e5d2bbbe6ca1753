from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.loss_bad_start import LossBadStart, noise_of
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts
from tests.detectors.loss_stream import CHANCE, decay, known, noise, reason, stream, told, watch


def test_far_above_chance_is_a_note_and_a_warning_when_it_stays() -> None:
    n = 1000
    losses = decay(n, tau=0.1, start=10 * CHANCE) * noise(n)
    news = watch(LossBadStart(), stream(losses, known(n)))
    assert told(news)[:2] == [(21, "info", "open"), (51, "warning", "worsening")]
    assert news[-1][1].status == "resolved" and len(news) == 3
    assert news[0][1].first_step == 1
    assert "times the 2.3 that guessing costs (limit 1.5)" in news[0][1].message


@pytest.mark.parametrize("n", [200, 2000, 20_000])
def test_a_start_that_falls_at_once_is_only_a_note(n: int) -> None:
    losses = (0.5 + 20 * np.exp(-np.arange(n) / 3)) * noise(n, 0.02)
    news = watch(LossBadStart(), stream(losses, known(n)))
    assert {f.severity for _, f in news} == {Severity.INFO} and news[-1][1].status == "resolved"


def test_twice_chance_is_never_more_than_a_note() -> None:
    news = watch(LossBadStart(), stream(2 * CHANCE * noise(1000, 0.05), known(1000)))
    assert told(news) == [(21, "info", "open")]


@pytest.mark.parametrize("start", [0.05, 0.5, 1.0, 1.4])
def test_chance_and_below_is_silent(start: float) -> None:
    losses = decay(1000, floor=0.01, start=start * CHANCE) * noise(1000, 0.05)
    assert watch(LossBadStart(), stream(losses, known(1000))) == []


def test_one_odd_first_batch_is_silent() -> None:
    losses = CHANCE * noise(500, 0.05)
    losses[0] *= 5
    assert watch(LossBadStart(), stream(losses, known(500))) == []


def test_a_rate_that_blows_up_at_once_is_not_a_bad_start() -> None:
    losses = 20 * CHANCE * noise(500, 0.05)
    losses[0] = CHANCE
    assert watch(LossBadStart(), stream(losses, known(500))) == []


def test_batches_of_one_are_silent() -> None:
    fired = [bool(watch(LossBadStart(), stream(0.6 * CHANCE * noise(100, 1.0, s), known(500)))) for s in range(40)]
    assert sum(fired) <= 1


def test_squared_errors_of_one_hot_targets_start_at_the_variance_of_the_outputs() -> None:
    squares = known(500, chance_loss=0.2, loss_kind="mse (one-hot)")
    assert watch(LossBadStart(), stream(0.9 * noise(500, 0.05), squares)) == []  # limit 1 + 1 / 0.2 = 6 times 0.2
    assert told(watch(LossBadStart(), stream(2.0 * noise(500, 0.05), squares)))[-1][1] == "warning"


def test_an_even_guess_of_unequal_classes_is_no_bad_start() -> None:
    rare = known(500, chance_loss=0.5, loss_kind="cross-entropy", num_classes=4)  # an even guess costs log 4 = 1.39
    assert watch(LossBadStart(), stream(2.0 * noise(500, 0.05), rare)) == []
    assert told(watch(LossBadStart(), stream(5.0 * noise(500, 0.05), rare)))[-1][1] == "warning"
    seldom = known(500, chance_loss=0.1, loss_kind="bce", num_classes=2)  # a yes in fifty: log 2 is 6.9 times chance
    assert watch(LossBadStart(), stream(0.75 * noise(500, 0.05), seldom)) == []
    assert told(watch(LossBadStart(), stream(2.5 * noise(500, 0.05), seldom)))[-1][1] == "warning"
    equal = known(500, chance_loss=1.386, loss_kind="cross-entropy", num_classes=4)
    assert watch(LossBadStart(), stream(2.5 * noise(500, 0.05), equal)) != []


def test_a_regression_may_start_at_twice_the_variance() -> None:
    losses = decay(500, start=2 * CHANCE) * noise(500, 0.05)
    assert watch(LossBadStart(), stream(losses, known(500, task="regression"))) == []
    assert watch(LossBadStart(), stream(losses, known(500))) != []


def test_without_chance_or_from_a_later_step_it_is_not_judged() -> None:
    losses = decay(500, start=10 * CHANCE)
    assert "not known" in reason(LossBadStart(), stream(losses, Facts(planned_steps=500)))
    assert "watched from step 300" in reason(LossBadStart(), stream(losses, known(800), first_step=300))
    assert "manual" in reason(LossBadStart(), stream(losses, known(500, automatic_optimization=False)))


def test_a_first_loss_that_is_nan_is_not_judged() -> None:
    losses = decay(500, start=10 * CHANCE)
    losses[0] = np.nan
    assert "first loss was not seen" in reason(LossBadStart(), stream(losses, known(500)))


def test_noise_is_that_around_the_course() -> None:
    falling = 100 * np.exp(-0.5 * np.arange(20)) * noise(20, 0.1)
    assert 0.05 < noise_of(falling.tolist()) < 0.2
    assert noise_of([1.0, 2.0]) == 0.0


def test_a_start_lasts_as_long_as_a_warm_up() -> None:
    n = 1000
    losses = decay(n, tau=0.1, start=10 * CHANCE) * noise(n)
    for every in (1, 10, 40):
        rates = np.minimum(np.arange(1, n + 1) / 150, 1.0)
        said = told(watch(LossBadStart(), stream(losses, known(n), lr=rates, every=every)))
        assert next(step for step, severity, _ in said if severity == "warning") in range(165, 211)
    assert told(watch(LossBadStart(), stream(losses, known(n), lr=np.ones(n))))[1][0] == 51
