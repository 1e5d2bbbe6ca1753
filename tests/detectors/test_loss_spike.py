from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.loss_spike import LossSpike
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.loss_stream import CHANCE, Array, decay, eat, known, noise, reason, stream, told, watch


def spiked(n: int = 600, at: int = 300, height: float = 8.0, tau: float = 3.0, seed: int = 0) -> Array:
    """A converged loss with one spike at step ``at`` (1-based) that decays."""
    after = np.arange(1, n + 1) - at
    return 0.5 * noise(n, seed=seed) * (1 + height * np.exp(-np.maximum(after, 0) / tau) * (after >= 0))


@pytest.mark.parametrize("seed", range(5))
def test_a_spike_is_found_at_its_own_step_within_three_steps_and_resolves(seed: int) -> None:
    news = watch(LossSpike(), stream(spiked(seed=seed), known(600)))
    assert [f.severity for _, f in news] == [Severity.INFO, Severity.INFO]
    step, found = news[0]
    assert found.step == found.first_step == 300 and step - 300 <= 3
    assert news[1][1].status == "resolved"
    assert found.evidence["batch_idx"] == 299 % 100 and found.epoch == 2


def test_the_message_is_one_sentence_with_value_limit_and_place() -> None:
    (_, found), *_ = watch(LossSpike(), stream(spiked(), known(600)))
    assert "at step 300 (batch 99 of epoch 2)" in found.message and "limit 8" in found.message
    assert found.message.count(". ") == 0 and found.message.endswith(".")
    assert float(found.evidence["value"]) > float(found.evidence["limit"]) == 8.0


@pytest.mark.parametrize(("height", "told_at"), [(2.0, 360), (3.5, 320)])
def test_a_level_that_stays_up_becomes_a_warning_and_resolves_when_it_comes_back(height: float, told_at: int) -> None:
    losses = spiked()
    losses[299:400] *= height  # by less, and by more, than a third of what it had gained
    news = watch(LossSpike(), stream(losses, known(600)))
    assert [s for _, s, _ in told(news)] == ["info", "warning", "warning"]
    assert told(news)[1][0] == told_at
    assert news[-1][1].status == "resolved" and 400 < news[-1][0] < 460
    assert "later the level is still" in news[1][1].message


@pytest.mark.parametrize(("height", "told_at"), [(12.0, 310), (99.0, 304)])  # 3 and 25 times what it had gained
def test_far_above_chance_is_told_at_once(height: float, told_at: int) -> None:
    losses = spiked(height=0.0)
    losses[299:400] *= height
    news = watch(LossSpike(), stream(losses, known(600)))
    step, found = next((step, f) for step, f in news if f.severity == Severity.WARNING)
    assert step == told_at
    assert f"{step - 300} steps later the loss is still" in found.message


def test_a_rise_without_way_back_after_the_rate_was_raised_stays_a_note() -> None:
    losses = spiked(height=0.0)
    losses[299:400] *= 99
    rates = np.where(np.arange(1, 601) < 299, 0.1, 1.0)
    assert {f.severity for _, f in watch(LossSpike(), stream(losses, known(600), lr=rates))} == {Severity.INFO}


def test_a_spike_early_in_a_run_with_a_constant_rate_is_judged_like_any_other() -> None:
    losses = spiked(n=300, at=120)
    losses[119:200] *= 3.5
    news = watch(LossSpike(), stream(losses, known(300), lr=np.full(300, 0.1)))
    assert told(news)[1][:2] == (140, "warning")


def test_a_rise_with_labels_that_were_not_there_before_is_no_warning() -> None:
    losses = 0.5 * noise(600)
    losses[299:] *= 4
    before, after = known(600, chance_loss=1.6), known(600, chance_loss=1.8)
    readings = stream(losses, before)

    def switched(facts: Facts, at: int) -> list[Reading]:
        return [replace(r, facts=facts) if r.step >= at else r for r in readings]

    assert {f.severity for _, f in watch(LossSpike(), switched(after, 310))} == {Severity.INFO}
    assert any(f.severity == Severity.WARNING for _, f in watch(LossSpike(), readings))
    unknown = stream(losses, known(600, chance_loss=None))
    assert min(step for step, f in watch(LossSpike(), unknown) if f.severity == Severity.WARNING) == 360


def test_one_that_comes_back_slowly_is_no_warning() -> None:
    news = watch(LossSpike(), stream(spiked(tau=6.0), known(600)))
    assert {f.severity for _, f in news} == {Severity.INFO} and news[-1][1].status == "resolved"


def test_three_recovered_spikes_are_a_warning() -> None:
    losses = np.full(900, 0.5) * noise(900)
    for at in (300, 420, 540):
        losses[at : at + 3] *= 8
    news = watch(LossSpike(), stream(losses, known(900)))
    worst = next(f for _, f in news if f.severity == Severity.WARNING)
    assert worst.step == 541 and "3 spikes within 1000 steps" in worst.message


def test_spikes_of_a_loss_that_is_stepped_on_by_hand_stay_notes() -> None:
    losses = np.full(900, 0.5) * noise(900)
    for at in (300, 420, 540):
        losses[at : at + 3] *= 8
    news = watch(LossSpike(), stream(losses, known(900, automatic_optimization=False)))
    assert {f.severity for _, f in news} == {Severity.INFO}
    shared = known(900, automatic_optimization=False, shared_loss=True)
    assert Severity.WARNING in {f.severity for _, f in watch(LossSpike(), stream(losses, shared))}


def test_three_spikes_far_apart_are_no_warning() -> None:
    losses = np.full(3000, 0.5) * noise(3000)
    for at in (300, 1400, 2500):
        losses[at : at + 3] *= 8
    news = watch(LossSpike(), stream(losses, known(3000)))
    assert {f.severity for _, f in news} == {Severity.INFO}


def test_one_bad_batch_is_no_spike() -> None:
    losses = 0.5 * noise(600)
    losses[300] *= 30
    assert watch(LossSpike(), stream(losses, known(600))) == []


def test_a_bad_batch_with_a_gradient_jump_is_a_spike() -> None:
    losses = 0.5 * noise(600)
    losses[300] *= 30
    norms = {step: {"grad/norm": 1 + 0.1 * (step % 3)} for step in range(1, 601, 5)}
    norms[301] = {"grad/norm": 100.0}
    news = watch(LossSpike(), stream(losses, known(600), extra=norms))
    assert news[0][0] == 301 and news[0][1].step == 301


def test_falling_is_never_a_spike() -> None:
    losses = 2.0 * noise(600)
    losses[300:] *= 0.02
    assert watch(LossSpike(), stream(losses, known(600))) == []


def test_a_small_rise_against_chance_is_no_spike() -> None:
    losses = 0.005 * noise(600)
    losses[300:303] *= 10  # z is large, but it is 2 % of chance
    assert watch(LossSpike(), stream(losses, known(600))) == []
    assert watch(LossSpike(min_rise=0.001), stream(losses, known(600))) != []


def test_a_spike_from_near_zero_is_found_by_rank() -> None:
    """The log of an interpolating loss is so noisy that chance level has a z below 8."""
    losses = 0.05 * noise(600, sd=0.85)
    losses[300:310] = 2.0
    news = watch(LossSpike(), stream(losses, known(600)))
    assert news[0][1].step == 301 and news[0][0] == 303
    assert "3 times in a row" in news[0][1].message and float(news[0][1].evidence["limit"]) == pytest.approx(1.2)


def test_hard_batches_in_the_mixture_are_no_spikes() -> None:
    rng = np.random.default_rng(0)
    losses = 0.5 * noise(5000, 0.05) * np.where(rng.random(5000) < 0.1, 3.0, 1.0)
    assert watch(LossSpike(), stream(losses, known(5000))) == []


def test_heavy_tails_stay_quiet() -> None:
    """Student-t noise of 3 degrees: fewer than 0.5 false spikes per 10,000 steps, here at most 2 in 40,000."""
    rng = np.random.default_rng(1)
    losses = np.exp(0.1 * np.clip(rng.standard_t(3, 40_000), -50, 50))
    news = watch(LossSpike(), stream(losses, known(40_000)))
    assert len({f.step for _, f in news}) <= 2


def test_it_still_works_after_nan() -> None:
    losses = spiked()
    losses[[100, 150, 151]] = np.nan
    losses[200] = np.inf
    news = watch(LossSpike(), stream(losses, known(600)))
    assert [f.step for _, f in news][:1] == [300]


def test_a_warm_restart_that_stays_up_is_info_and_says_the_rate() -> None:
    losses = 0.5 * noise(600)
    losses[300:] *= 4
    lr = np.where(np.arange(600) < 300, 1e-4, 1e-2)
    news = watch(LossSpike(), stream(losses, known(600), lr=lr))
    assert {f.severity for _, f in news} == {Severity.INFO}
    judge = Judge([LossSpike()])
    eat(judge, stream(losses, known(600), lr=lr))
    assert judge.findings[0].count > 100  # still held ...
    without = watch(LossSpike(), stream(losses, known(600), lr=np.full(600, 1e-4)))
    assert Severity.WARNING in {f.severity for _, f in without}  # ... and a warning without the jump


def test_it_waits_for_a_sample_of_the_rate_before_it_warns() -> None:
    losses = 0.5 * noise(900)
    losses[300:] *= 4
    lr = np.where(np.arange(900) < 300, 1e-4, 1e-2)
    news = watch(LossSpike(), stream(losses, known(900), lr=lr, every=100))
    assert {f.severity for _, f in news} == {Severity.INFO}


@pytest.mark.parametrize("n", [200, 2000, 20_000])
def test_right_at_any_length(n: int) -> None:
    losses, at = decay(n) * noise(n), n // 2
    losses[at : at + 4] += 4 * CHANCE
    news = watch(LossSpike(), stream(losses, known(n)))
    assert news[0][1].step == at + 1 and news[0][0] <= at + 3


def test_negative_losses_can_spike() -> None:
    losses = -2.0 + 0.1 * np.random.default_rng(0).standard_normal(600)
    assert watch(LossSpike(), stream(losses)) == []
    losses[300:304] += 8.0
    assert watch(LossSpike(), stream(losses))[0][1].step == 301


def test_it_is_not_judged_without_ten_losses() -> None:
    assert "fewer than 10" in reason(LossSpike(), stream([1.0] * 5))
