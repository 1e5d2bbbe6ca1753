from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.loss_plateau import LossPlateau
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts
from tests.detectors.loss_stream import CHANCE, decay, known, noise, reason, stream, told, watch


@pytest.mark.parametrize("n", [400, 2000, 20_000])
def test_standing_still_far_from_the_floor_is_info(n: int) -> None:
    losses = decay(n, floor=0.7 * CHANCE, tau=0.03) * noise(n, 0.05)
    news = watch(LossPlateau(), stream(losses, known(n)))
    assert {f.severity for _, f in news} == {Severity.INFO} and len(news) == 1
    step, found = news[0]
    assert 0.25 * n < step < 0.6 * n and found.first_step < step
    assert float(found.evidence["value"]) < float(found.evidence["limit"]) == 0.05


def test_at_chance_it_is_a_warning() -> None:
    news = watch(LossPlateau(), stream(CHANCE * noise(2000, 0.05), known(2000)))
    assert told(news)[0][1] == "warning"
    unknown = Facts(planned_steps=2000, optimizers=("Adam",))
    news = watch(LossPlateau(), stream(CHANCE * noise(2000, 0.05), unknown))
    assert {f.severity for _, f in news} == {Severity.INFO}


def test_a_jump_after_a_long_plateau_resolves_it() -> None:
    n = 4000
    losses = np.where(np.arange(n) < 2500, 0.7, 0.1) * CHANCE * noise(n, 0.05)
    news = watch(LossPlateau(), stream(losses, known(n)))
    assert told(news)[0][1] == "info" and news[-1][1].status == "resolved"


@pytest.mark.parametrize("floor", [0.05, 0.4, 1.0])
def test_converged_near_the_floor_is_silent(floor: float) -> None:
    losses = decay(2000, floor=floor, tau=0.03) * noise(2000, 0.05)
    assert watch(LossPlateau(), stream(losses, known(2000))) == []


def test_a_loss_too_noisy_to_say_is_silent() -> None:
    losses = 0.7 * CHANCE * noise(400, 0.5)
    assert watch(LossPlateau(), stream(losses, known(400))) == []


def test_a_plateau_at_the_limit_does_not_flicker() -> None:
    for seed in range(3):
        losses = decay(2000, floor=0.8 * CHANCE, tau=0.05) * noise(2000, 0.1, seed)
        assert len(watch(LossPlateau(), stream(losses, known(2000)))) == 1


def test_a_slow_fall_is_silent() -> None:
    t = np.arange(2000) / 2000
    assert watch(LossPlateau(), stream(CHANCE * (0.95 - 0.3 * t) * noise(2000, 0.05), known(2000))) == []


def test_language_models_and_unknown_chance_need_a_higher_level() -> None:
    losses = decay(2000, floor=0.7 * CHANCE, tau=0.03) * noise(2000, 0.05)
    assert watch(LossPlateau(), stream(losses, known(2000, task="language-model"))) == []
    assert watch(LossPlateau(), stream(losses, Facts(planned_steps=2000, optimizers=("Adam",)))) == []


def test_a_decayed_or_rising_rate_is_no_plateau() -> None:
    losses = 0.7 * CHANCE * noise(2000, 0.05)
    decayed = np.where(np.arange(2000) < 200, 1e-2, 1e-4)
    text = reason(LossPlateau(), stream(losses, known(2000), lr=decayed))
    assert "fell to 1 % of its peak" in text
    rising = 1e-3 * np.arange(1, 2001) / 2000
    assert "rose within the window" in reason(LossPlateau(), stream(losses, known(2000), lr=rising))


def test_without_a_plan_the_window_is_half_of_the_run() -> None:
    losses = decay(3000, floor=0.7 * CHANCE, tau=0.03) * noise(3000, 0.05)
    assert told(watch(LossPlateau(), stream(losses, known(None))))[0][1] == "info"


def test_competing_losses_are_not_judged() -> None:
    text = reason(LossPlateau(), stream(CHANCE * noise(500), known(500, automatic_optimization=False)))
    assert "manual optimization" in text
