from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_diag.detectors._consequence import SURE_STEPS, Consequence
from lightning_diag.reading import Facts, Reading


def watched(
    losses: list[float], *, chance: float | None = 1.0, planned: int | None = 1000, every: int = 1
) -> Consequence:
    run, known = Consequence(), Facts(planned_steps=planned, chance_loss=chance)
    for i, loss in enumerate(losses):
        made = {
            "loss/relative": np.float64(loss),
            "loss/level": np.float64(loss),
            "loss/best": np.float64(min(losses[: i + 1])),
        }
        run.see(Reading(1 + i * every, 0, made, known))
    return run


def test_little_that_is_untrained_does_not_count_before_the_run_is_ripe() -> None:
    c, facts = Consequence(sure=30), Facts(planned_steps=500, chance_loss=2.3)
    for step in range(1, 46):
        c.see(Reading(step, 0, {"loss/relative": np.float64(1.0), "loss/level": np.float64(2.3)}, facts))
    assert c.untrained(0.9, 0.21, 0.5) and not c.untrained(0.9, 0.2, 0.5)
    for step in range(46, 62):
        c.see(Reading(step, 0, {"loss/relative": np.float64(1.0), "loss/level": np.float64(2.3)}, facts))
    assert c.untrained(0.9, 0.01, 0.5)


def test_stuck_needs_time() -> None:
    assert not watched([1.0] * 59).stuck(0.9)
    assert watched([1.0] * 60).stuck(0.9)
    assert not watched([0.9] * 60).stuck(0.9)


def test_a_sure_mechanism_needs_less_time_where_nothing_was_learned() -> None:
    def sure(losses: list[float], planned: int | None = 1000, chance: float | None = 1.0) -> bool:
        run, known = Consequence(sure=SURE_STEPS), Facts(planned_steps=planned, chance_loss=chance)
        for step, loss in enumerate(losses, start=1):
            run.see(Reading(step, 0, {"loss/relative": np.float64(loss), "lr": np.array([0.1])}, known))
        return run.stuck(0.9)

    assert not sure([1.0] * 29) and sure([1.0] * 30)
    assert not sure([0.95] * 30) and sure([0.95] * 60)
    assert not sure([1.0] * 30, chance=None) and not sure([1.0] * 30, planned=None)
    assert not sure([1.0] * 30, planned=10_000) and sure([1.0] * 200, planned=10_000)


def test_time_counts_from_the_first_reading() -> None:
    run, known = Consequence(), Facts(planned_steps=1000, chance_loss=1.0)
    for step in range(5000, 5059):
        run.see(Reading(step, 0, {"loss/relative": np.float64(1.0)}, known))
    assert not run.stuck(0.9)


def test_unknown_chance_asks_for_more() -> None:
    assert not watched([0.95] * 60, chance=None).stuck(0.9)
    assert watched([0.98] * 60, chance=None).stuck(0.9)


def test_a_loss_that_is_not_finite_is_no_consequence() -> None:
    run = watched([1.0] * 60)
    run.see(Reading(61, 0, {"loss/relative": np.float64(math.nan)}, Facts(planned_steps=1000, chance_loss=1.0)))
    assert not run.stuck(0.9)
    assert not run.diverging()
    assert math.isnan(run.projected(Facts(planned_steps=1000)))


@pytest.mark.parametrize("every", [1, 10])
def test_projected_goes_on_like_the_average_or_the_last_half(every: int) -> None:
    steady = watched([1.0 - 1e-4 * i * every for i in range(1000 // every // 2)], every=every)
    assert steady.projected(Facts(planned_steps=1000)) == pytest.approx(1.0 - 1e-4 * 1000, abs=0.01)
    plateau = watched([max(1.0 - 0.01 * i * every, 0.6) for i in range(200 // every)], every=every)
    assert plateau.projected(Facts(planned_steps=1000)) < -0.5
    late = watched([1.0] * 100 + [1.0 - 0.005 * i for i in range(100)])
    assert late.projected(Facts(planned_steps=400)) == pytest.approx(0.505 - 0.005 * 200, abs=0.1)


def test_projected_at_the_end_is_now() -> None:
    run = watched([1.0 - 1e-3 * i for i in range(100)])
    assert run.projected(Facts(planned_steps=100)) == pytest.approx(run.relative)
    assert run.projected(Facts(planned_steps=50)) == pytest.approx(run.relative)


def test_plateaued() -> None:
    assert not watched([1.0 - 1e-3 * i for i in range(200)]).plateaued()
    assert not watched([1.0] * 200).plateaued()
    assert watched([max(1.0 - 1e-3 * i, 0.93) for i in range(200)]).plateaued()
    assert not watched([max(1.0 - 1e-3 * i, 0.99) for i in range(200)]).plateaued()
    assert not watched([1.0]).plateaued()


def test_diverging() -> None:
    assert not watched([1.0] * 20 + [0.4] * 20 + [0.6]).diverging()
    assert watched([1.0] * 20 + [0.4] * 20 + [0.75]).diverging()


def test_warming_up_until_a_quarter_later() -> None:
    run = Consequence()
    ended = []
    for step in range(1, 301):
        run.see(Reading(step, 0, {"lr": np.array([0.0, 1e-3 * min(step, 200)])}))
        if not run.warming_up:
            ended.append(step)
    assert ended[:2] == [1, 268]


def test_nothing_is_stuck_in_a_warm_up() -> None:
    run, known = Consequence(), Facts(planned_steps=1000, chance_loss=1.0)
    for step in range(1, 201):
        run.see(Reading(step, 0, {"lr": np.array([1e-3 * step]), "loss/relative": np.float64(1.0)}, known))
    assert not run.stuck(0.9)


def test_untrained() -> None:
    assert watched([0.95] * 60).untrained(0.9, 0.01, 0.5)
    assert not watched([0.6] * 179).untrained(0.9, 0.9, 0.5)
    assert watched([0.6] * 180).untrained(0.9, 0.9, 0.5)
    assert not watched([0.6] * 180).untrained(0.9, 0.4, 0.5)
    assert not watched([1.0] * 180, chance=None).untrained(0.9, 0.4, 0.5)
    assert watched([1.0] * 180, chance=None).untrained(0.9, 0.6, 0.5)


def test_the_trail_grows_with_the_logarithm() -> None:
    run = watched([1.0] * 5000)
    assert len(run.trail) < 150
