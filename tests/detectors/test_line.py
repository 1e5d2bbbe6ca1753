from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_diag.detectors._line import MOST, Line
from lightning_diag.reading import Facts, Reading
from lightning_diag.streaming import LossTrace


def parabola(lr: float, noise: float, steps: int = 200, every: int = 5, seed: int = 0) -> Line:
    """Gradient descent with noisy gradients on ``20 w'w / 2`` of 30 weights, from far away."""
    rng = np.random.default_rng(seed)
    weights, line, curve = np.full(30, 3.0), Line(), LossTrace()
    before: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    for step in range(1, steps + 1):
        push = noise * rng.normal(size=30)
        curve.push(float(10 * weights @ weights + push @ weights))
        gradient = 20 * weights + push
        if step % every == 1:
            values = {} if before is None else {"grad/along": np.float64(gradient @ (weights - before))}
            line.see(Reading(step, 0, values, Facts(planned_steps=steps), curve=curve))
            before = weights.copy()
        weights = weights - lr * gradient
    return line


def test_tiny_steps_fall_along_a_line_and_large_ones_do_not() -> None:
    tiny = parabola(1e-4, 0.5)
    assert tiny.straight == pytest.approx(1, abs=0.03)
    assert tiny.surely > 0.9 and tiny.longer == 10.0
    assert parabola(0.02, 5.0).straight < 0  # at its noise floor: noise moves the weights
    assert not parabola(0.09, 1.0).surely > 0.4


def test_what_is_sure_allows_for_the_noise_of_losses_and_gradients() -> None:
    quiet, noisy = parabola(1e-4, 0.5), parabola(1e-4, 60.0)
    assert quiet.straight - quiet.surely < 0.1
    assert noisy.straight - noisy.surely > 0.2


def test_longer_is_the_best_step_of_a_parabola() -> None:
    """Along its way the slope has fallen to ``1 - x``, the loss by ``1 - x / 2``: ``1 / x`` would be at the bottom."""
    line = Line()
    for x in (0.2, 0.5, 1.0):
        line.straight = (1 - x) / (1 - x / 2)
        assert line.longer == pytest.approx(1 / x)


@settings(max_examples=15, deadline=None)
@given(st.integers(10, 900), st.integers(3, 7))
def test_bounded_and_right_whatever_the_spacing(samples: int, every: int) -> None:
    line, curve = Line(), LossTrace()
    for step in range(1, samples * every + 1):
        curve.push(-0.5 * step)
        if step % every == 0:
            line.see(Reading(step, 0, {"grad/along": np.float64(-0.5 * every)}, Facts(), curve=curve))
    assert len(line.state_dict()["_samples"]) <= MOST
    if samples * every >= 60 and samples > 40:
        assert line.straight == pytest.approx(1, rel=0.02)


def test_every_single_step_sampled_says_nothing() -> None:
    assert math.isnan(parabola(1e-4, 0.5, every=2).straight)


def test_few_samples_and_lost_values_say_nothing() -> None:
    line, curve = Line(), LossTrace()
    for step in range(1, 29):
        curve.push(-step)
        if step % 4 == 0:
            line.see(Reading(step, 0, {"grad/along": np.float64(-4)}, Facts(), curve=curve))
    assert math.isnan(line.straight)
    line.see(Reading(30, 0, {"grad/along": np.float64(math.nan)}, Facts(), curve=curve))
    assert math.isnan(line.straight)


def test_state_goes_on() -> None:
    one, curve = Line(), LossTrace()
    two = Line()
    for step in range(1, 101):
        curve.push(3 - 0.01 * step + 0.001 * (step % 3))
        reading = Reading(step, 0, {"grad/along": np.float64(-0.03)}, Facts(planned_steps=200), curve=curve)
        if step % 4 == 0:
            one.see(reading)
            two.see(reading)
        if step == 50:
            two = Line()
            two.load_state_dict(one.state_dict())
    assert (two.straight, two.surely) == (one.straight, one.surely)
    assert one.surely < one.straight
