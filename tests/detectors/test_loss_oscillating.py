from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.loss_oscillating import LossOscillating, swings
from lightning_diag.finding import Severity
from tests.detectors.loss_stream import CHANCE, decay, known, noise, reason, stream, told, watch


def alternating(n: int, at: int, swing: float, lift: float = 0.0, sd: float = 0.1) -> np.ndarray:
    t = np.arange(n)
    return decay(n, tau=0.05) * noise(n, sd) + CHANCE * (lift + swing * (-1.0) ** t) * (t >= at)


@pytest.mark.parametrize("n", [300, 2000, 20_000])
def test_swings_that_cost_what_was_reached_are_a_warning(n: int) -> None:
    at = n // 2
    news = watch(LossOscillating(), stream(alternating(n, at, 0.15, lift=0.25), known(n)))
    step, found = next((s, f) for s, f in news if f.severity == Severity.WARNING)
    assert at < step <= at + 5 * 64 and at - 64 < found.first_step
    assert float(found.evidence["value"]) < float(found.evidence["limit"]) == -0.35


def test_alternating_sources_of_a_run_that_learns_are_info() -> None:
    t = np.arange(2000)
    losses = decay(2000, tau=0.4) * np.exp(0.15 * (-1.0) ** t) * noise(2000, 0.05)
    assert {f.severity for _, f in watch(LossOscillating(), stream(losses, known(2000)))} == {Severity.INFO}


def test_alternating_sources_of_a_converged_run_are_info() -> None:
    losses = decay(3000, floor=0.6 * CHANCE, tau=0.03) * np.exp(0.15 * (-1.0) ** np.arange(3000)) * noise(3000, 0.05)
    assert {f.severity for _, f in watch(LossOscillating(), stream(losses, known(3000)))} == {Severity.INFO}


def test_swings_now_and_then_are_silent() -> None:
    t = np.arange(3000)
    swinging = (t // 64) % 3 < 2  # two windows of three, never three in a row
    losses = (1 + 0.3 * (-1.0) ** t * swinging) * noise(3000, 0.05)
    assert watch(LossOscillating(), stream(losses, known(3000))) == []
    assert watch(LossOscillating(confirm=2), stream(losses, known(3000))) != []


def test_small_swings_are_silent() -> None:
    losses = alternating(2000, 500, 0.02, sd=0.01)
    assert watch(LossOscillating(), stream(losses, known(2000))) == []
    assert watch(LossOscillating(amplitude=0.01), stream(losses, known(2000))) != []


@pytest.mark.parametrize("sd", [0.05, 0.3, 1.0])
def test_independent_noise_is_silent(sd: float) -> None:
    for seed in range(3):
        assert watch(LossOscillating(), stream(CHANCE * noise(5000, sd, seed), known(5000))) == []


def test_it_resolves_when_the_swings_stop() -> None:
    losses = alternating(4000, 1000, 0.15, lift=0.25)
    losses[2000:] = 0.2 * noise(2000, seed=1)
    news = watch(LossOscillating(), stream(losses, known(4000)))
    assert news[-1][1].status == "resolved" and 2000 < news[-1][0] < 2300


def test_swings_against_numpy() -> None:
    losses = np.random.default_rng(0).standard_normal(64).cumsum() + 10
    x = np.arange(64)
    residual = losses - np.polyval(np.polyfit(x, losses, 1), x)
    spread = 4 * 1.4826 * np.median(np.abs(residual - np.median(residual)))
    residual = np.clip(residual, -spread, spread)
    expected = (residual[:-1] * residual[1:]).sum() / (residual**2).sum()
    assert swings(losses) == pytest.approx((expected, np.sqrt((residual**2).mean())))


def test_constant_and_linear_losses_do_not_swing() -> None:
    assert swings(np.full(64, 3.0)) == (0.0, 0.0)
    assert swings(np.linspace(3, 1, 64)) == (0.0, 0.0)
    assert told(watch(LossOscillating(), stream([1.0] * 1000, known(1000)))) == []


def test_competing_losses_are_not_judged() -> None:
    losses = CHANCE * (1 + 0.3 * (-1.0) ** np.arange(500))
    assert "2 optimizers" in reason(LossOscillating(), stream(losses, known(500, optimizers=("Adam", "Adam"))))
