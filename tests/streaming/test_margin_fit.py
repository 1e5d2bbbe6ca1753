from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.streaming.margin_fit import fit


def mixture(rate: float, n: int, seed: int, low: float = -3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wrong = rng.random(n) < rate
    return np.where(wrong, rng.normal(low, 1.5, n), rng.normal(2.0, 1.0, n))


@pytest.mark.parametrize("rate", [0.03, 0.15, 0.4])
def test_rate_and_its_error_are_right(rate: float) -> None:
    fits = [fit(mixture(rate, 1000, seed), 2.0) for seed in range(60)]
    rates = np.array([f.rate for f in fits])
    errors = np.array([f.error for f in fits])
    assert rates.mean() == pytest.approx(rate, abs=3 * rates.std() / np.sqrt(60) + 0.002)
    assert np.median(errors) == pytest.approx(rates.std(), rel=0.35)
    assert (np.abs(rates - rate) < 2 * errors).mean() > 0.85
    assert np.mean([f.low for f in fits]) == pytest.approx(-1.5, abs=0.1)
    assert np.mean([f.high for f in fits]) == pytest.approx(1.0, abs=0.05)


def test_one_component_is_not_cut_in_two_that_stand_apart() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        for margins in (rng.normal(2, 1, 1000), rng.normal(2, 2, 1000), rng.gamma(2, 1, 1000) - 0.5, np.full(300, 4.0)):
            got = fit(margins, float(np.median(margins[margins > 0])))
            assert not (got.low <= -0.7 and got.rate - 3 * got.error > 0.015), (seed, got)


def test_it_costs_the_same_for_many() -> None:
    few, many = fit(mixture(0.1, 2000, 0), 2.0), fit(mixture(0.1, 500_000, 0), 2.0)
    assert many.rate == pytest.approx(0.1, abs=0.005) and many.error < few.error / 8
