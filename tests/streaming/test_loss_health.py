from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_diag.streaming import LossHealth

POSITIVE = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=150)
ANY = st.lists(st.floats(-1e3, 1e3) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1, max_size=120)


def reference(losses: Sequence[float]) -> list[dict[str, float]]:
    """The same statistics in plain NumPy, from the definition, for positive losses."""
    accepted: list[float] = []
    deviations: list[float] = []
    held: list[float] = []
    out = []

    def expected() -> float:
        late, early = accepted[-16:], accepted[-32:-16]
        middle = float(np.median(late))
        return middle + 8.5 / 16 * (middle - float(np.median(early))) if len(early) == 16 else middle

    best = math.inf
    for n, loss in enumerate(losses, 1):
        y, row = math.log(loss), {}
        row["loss/level"] = float(np.median(losses[:n][-32:]))
        z = 0.0
        if len(deviations) >= 10:
            row["loss/noise"] = max(1.4826 * float(np.median(deviations[-64:])), 0.02)
            row["loss/z"] = z = (y - expected()) / row["loss/noise"]
        if abs(z) <= 8:
            held = []
            if accepted:
                deviations.append(abs(y - expected()))
            accepted.append(y)
        else:
            held.append(y)
            if len(held) == 16:
                accepted = held
                deviations += [abs(h - float(np.median(held))) for h in held]
                held = []
        if n >= 10:
            best = min(best, row["loss/level"])
            row["loss/best"] = best
        row["loss/relative"] = row["loss/level"] / float(np.median(losses[: min(n, 10)]))
        out.append(row)
    return out


@settings(max_examples=60)
@given(POSITIVE)
def test_every_signal_equals_numpy_at_every_prefix(losses: list[float]) -> None:
    health = LossHealth()
    for made, row in zip(map(health.update, losses), reference(losses), strict=True):
        assert made.keys() == row.keys()
        for name, value in row.items():
            assert made[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_the_reference_is_reached_with_outliers_and_a_new_regime() -> None:
    rng = np.random.default_rng(0)
    losses = np.exp(0.05 * rng.standard_normal(300))
    losses[100:105] *= 50
    losses[200:] *= 20
    made = [LossHealth.update(h, float(x)) for h in [LossHealth()] for x in losses]
    for mine, row in zip(made, reference(losses.tolist()), strict=True):
        assert mine == pytest.approx(row, rel=1e-6, abs=1e-6)


@settings(max_examples=60)
@given(ANY, st.integers(0, 120))
def test_a_stop_and_a_resume_through_json_change_nothing(losses: list[float], cut: int) -> None:
    whole, first, second = LossHealth(), LossHealth(), LossHealth()
    expected = [whole.update(x) for x in losses]
    made = [first.update(x) for x in losses[:cut]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    made += [second.update(x) for x in losses[cut:]]
    assert made == expected and json.dumps(second.state_dict()) == json.dumps(whole.state_dict())


@given(ANY)
def test_whatever_comes_every_signal_is_finite(losses: list[float]) -> None:
    health = LossHealth()
    for loss in losses:
        made = health.update(loss)
        assert bool(made) == math.isfinite(loss)
        assert all(math.isfinite(v) for v in made.values())


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    health, other = LossHealth(), LossHealth()
    for i in range(50):
        health.update(1.0 + 0.1 * (i % 3))
        other.update(1.0 + 0.1 * (i % 3))
        for bad in (math.nan, math.inf, -math.inf):
            assert other.update(bad) == {}
    assert health.state_dict() == other.state_dict()


def test_nothing_is_said_before_it_is_known() -> None:
    health = LossHealth()
    made = [health.update(2.0) for _ in range(12)]
    assert "loss/z" not in made[10] and "loss/noise" not in made[10] and "loss/z" in made[11]
    assert "loss/best" not in made[8] and "loss/best" in made[9]
    assert "loss/relative" not in LossHealth().update(-2.0)


def test_relative_is_to_chance_where_known_and_to_the_first_losses_else() -> None:
    assert LossHealth().update(1.0, chance=4.0)["loss/relative"] == 0.25
    health = LossHealth()
    for loss in [2.0] * 10 + [1.0] * 40:
        made = health.update(loss)
    assert made["loss/relative"] == 0.5
    assert LossHealth().update(1.0, chance=-4.0)["loss/relative"] == 1.0


def test_a_spike_does_not_hide_the_next_one() -> None:
    health = LossHealth()
    for i in range(100):
        health.update(1.0 + 0.05 * (i % 5))
    assert all(health.update(20.0)["loss/z"] > 8 for _ in range(15))


def test_sixteen_outliers_are_the_new_baseline_at_once() -> None:
    health = LossHealth()
    for i in range(100):
        health.update(1.0 + 0.05 * (i % 5))
    for i in range(16):
        health.update(20.0 + (i % 5))
    assert abs(health.update(22.0)["loss/z"]) < 8


def test_a_falling_loss_does_not_look_noisy() -> None:
    """The noise is around the course, not around a level that lags behind it."""
    rng = np.random.default_rng(0)
    health = LossHealth()
    for step in range(120):
        made = health.update(float(np.exp(-step / 25 + 0.05 * rng.standard_normal())))
    assert 0.03 < made["loss/noise"] < 0.12 and abs(made["loss/z"]) < 4


def test_losses_that_are_not_positive_are_taken_by_asinh() -> None:
    rng = np.random.default_rng(0)
    health = LossHealth()
    for x in 2 + 0.1 * rng.standard_normal(50):
        health.update(float(x))
    for x in -1 + 0.1 * rng.standard_normal(100):
        made = health.update(float(x))
    assert 0.02 <= made["loss/noise"] < 0.1 and abs(made["loss/z"]) < 6
    assert made["loss/level"] == pytest.approx(-1, abs=0.1) and made["loss/best"] < -0.9
    assert health.update(5.0)["loss/z"] > 8


def test_zeros_do_no_harm() -> None:
    health = LossHealth()
    for loss in [0.0] * 40:
        made = health.update(loss)
    assert made["loss/level"] == 0.0 and made["loss/z"] == 0.0 and "loss/relative" not in made
