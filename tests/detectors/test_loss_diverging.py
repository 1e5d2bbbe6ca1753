from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_diag.detectors.loss_diverging import LossDiverging
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts
from tests.detectors.loss_stream import CHANCE, decay, known, noise, reason, stream, told, watch


@pytest.mark.parametrize("n", [400, 2000, 20_000])
def test_a_loss_that_climbs_back_is_found(n: int) -> None:
    losses = (decay(n, tau=0.1) + 6 * np.maximum(0, np.arange(n) / n - 0.5)) * noise(n)
    news = watch(LossDiverging(), stream(losses, known(n)))
    assert told(news)[0][1] == "warning"
    step, found = news[0]
    assert n // 2 < found.first_step < step < 0.9 * n
    assert float(found.evidence["value"]) > float(found.evidence["limit"])


def test_losing_less_than_half_of_what_was_learned_is_enough_and_a_third_is_not() -> None:
    def said(lost: float) -> bool:
        losses = decay(1000, tau=0.05, floor=0.5)
        losses[600:] = 0.5 + lost * (CHANCE - 0.5)
        return bool(watch(LossDiverging(), stream(losses * noise(1000, 0.05), known(1000))))

    assert said(0.48) and not said(0.33)


def test_lost_is_critical_and_coming_back_resolves() -> None:
    losses = decay(2000, tau=0.05) * noise(2000)
    losses[1000:1400] = 4.0 * noise(400, seed=1)
    news = watch(LossDiverging(), stream(losses, known(2000)))
    assert told(news)[0][1] == "warning" and 1000 < told(news)[0][0] < 1060
    assert told(news)[1][1] == "critical" and told(news)[1][0] > 1100
    assert news[-1][1].status == "resolved" and news[-1][0] < 1460


def test_a_growing_loss_from_the_start_is_found() -> None:
    losses = CHANCE * np.exp(np.arange(400) / 60) * noise(400)
    news = watch(LossDiverging(), stream(losses, known(400)))
    assert news[0][0] <= 120 and Severity.CRITICAL in {f.severity for _, f in news}


def test_a_spike_however_high_is_not_divergence() -> None:
    losses = decay(2000, tau=0.05) * noise(2000)
    losses[1000:1010] = 1e6
    assert watch(LossDiverging(), stream(losses, known(2000))) == []


@pytest.mark.parametrize("sd", [0.05, 0.3, 1.0])
def test_noise_of_any_size_is_silent(sd: float) -> None:
    for seed in range(5):
        losses = decay(3000, floor=0.8, tau=0.1) * noise(3000, sd, seed)
        assert watch(LossDiverging(), stream(losses, known(3000))) == []


def test_a_loss_of_two_modes_is_silent() -> None:
    """The median of a batch of one flips between the modes; the mean does not."""
    rng = np.random.default_rng(0)
    losses = np.where(rng.random(5000) < 0.45, 2.0, 0.1)
    assert watch(LossDiverging(), stream(losses, known(5000, chance_loss=0.69))) == []


def test_a_warm_restart_starts_anew_and_a_real_divergence_after_it_is_found() -> None:
    n = 2000
    t = np.arange(n)
    lr = np.where(t < 1000, 1e-4, 1e-1)
    losses = (decay(n, tau=0.05) + 1.4 * (t >= 1000)) * noise(n)
    assert watch(LossDiverging(), stream(losses, known(n), lr=lr)) == []
    assert watch(LossDiverging(), stream(losses, known(n))) != []  # the same without a jump of the rate
    losses += 0.01 * np.maximum(0, t - 1400)
    assert watch(LossDiverging(), stream(losses, known(n), lr=lr))[0][0] > 1400


def test_labels_that_are_added_start_it_anew() -> None:
    losses = np.concatenate([decay(400, tau=0.1), 1.0 + decay(600, tau=0.3)]) * noise(1000)
    readings = stream(losses, known(1000, chance_loss=1.6))
    more = [replace(r, facts=known(1000)) if r.step > 405 else r for r in readings]
    assert watch(LossDiverging(), more) == []
    assert watch(LossDiverging(), readings) != []


def test_it_waits_for_a_sample_of_the_rate() -> None:
    n = 2000
    lr = np.where(np.arange(n) < 1000, 1e-4, 1e-1)
    losses = (decay(n, tau=0.05) + 1.4 * (np.arange(n) >= 1000)) * noise(n)
    assert watch(LossDiverging(), stream(losses, known(n), lr=lr, every=400)) == []


def test_a_loss_without_bottom_is_told() -> None:
    losses = -2.3 * np.exp(np.arange(500) / 50)
    (_, found), *rest = watch(LossDiverging(), stream(losses, Facts(planned_steps=500)))
    assert found.severity == Severity.WARNING and "falls without a bottom" in found.message and rest == []
    assert "sign" in found.advice[0]
    assert watch(LossDiverging(), stream(np.linspace(1.5, -90, 500), Facts(planned_steps=500))) == []


def test_a_contrastive_loss_that_rises_from_a_low_start_is_silent() -> None:
    t = np.arange(2000) / 2000
    losses = (4 + 6 * (1 - np.exp(-t / 0.1)) - 4 * (1 - np.exp(-t / 0.4))) * noise(2000, 0.05)
    assert watch(LossDiverging(), stream(losses, Facts(planned_steps=2000))) == []
    assert watch(LossDiverging(), stream(losses, known(2000, chance_loss=4.0))) != []


def test_a_surrogate_of_rewards_that_goes_back_to_zero_is_silent() -> None:
    n = 900
    rng = np.random.default_rng(3)
    way = np.interp(np.arange(n), (0, 250, 600, n), (0.0, -0.4, -0.05, 0.0)) + 0.05 * rng.standard_normal(n)
    facts = Facts(planned_steps=n, optimizers=("Adam",))
    assert not watch(LossDiverging(), stream(way, facts))
    far = np.where(np.arange(n) < 400, way, 1.0 + 0.05 * rng.standard_normal(n))
    assert watch(LossDiverging(), stream(far, facts)), "as far above zero as it never was below"


def test_the_start_is_guarded() -> None:
    losses = 1.0 * noise(400)
    losses[12:40] *= 4  # settles within the guard
    assert watch(LossDiverging(), stream(losses, known(2000))) == []


def test_competing_losses_are_not_judged() -> None:
    losses = CHANCE * np.exp(np.arange(400) / 60)
    text = reason(LossDiverging(), stream(losses, known(400, optimizers=("Adam", "SGD"))))
    assert "2 optimizers (Adam and SGD)" in text
    assert "manual" in reason(LossDiverging(), stream(losses, known(400, automatic_optimization=False)))
