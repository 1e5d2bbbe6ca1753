from __future__ import annotations

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors._trend import Reference, TrendDetector, interval, one_objective, reference
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.loss_stream import eat, known, noise, stream, watch


class Looks(TrendDetector):
    """Notes the steps at which it looks."""

    rule, code, title, severity = "loss/looks", "X000", "Looks", Severity.INFO
    reads = ("loss/train", "loss/level", "lr")

    def _reset(self) -> None:
        super()._reset()
        self._steps: list[int] = []

    def _look(self, reading: Reading) -> Finding | None:
        self._settled(reading)
        self._steps.append(reading.step)
        return None


def looks(readings: list[Reading]) -> list[int]:
    detector = Looks()
    watch(detector, readings)
    return detector._steps


def test_it_looks_every_half_percent_of_the_plan_and_at_least_every_ten_steps() -> None:
    facts = known(200, chance_loss=None)
    assert looks(stream(noise(100), facts)) == list(range(1, 101, 10))
    assert looks(stream(noise(2000), known(100_000, chance_loss=None))) == [1, 501, 1001, 1501]
    assert [interval(Reading(step, 0, {}, Facts())) for step in (1, 500, 5000)] == [10, 10, 100]


def test_between_looks_the_reason_of_the_last_one_stands() -> None:
    detector, judge = Looks(), Judge([])
    for reading in stream(noise(35), known(200)):
        expected = "still being estimated" if reading.step <= 20 else "judged every"
        if reading.step in (21, 31):
            assert detector.update(judge.enrich(reading)) is None
            continue
        with pytest.raises(NotMeasurable, match=expected):
            detector.update(judge.enrich(reading))


def test_losses_that_are_not_finite_never_reach_the_trace() -> None:
    judge = Judge([Looks()])
    eat(judge, stream([1.0, np.nan, np.inf, -np.inf, 2.0], known(200, chance_loss=None)))
    assert judge.state_dict()["curve"]["means"] == [1.0, 2.0]


def test_a_changed_chance_loss_is_waited_for_half_of_the_watched_steps() -> None:
    readings = [*stream(noise(200), known(1000)), *stream(noise(400), known(1000, chance_loss=2.4), first_step=201)]
    steps = looks(readings)
    assert steps[0] == 21 and 191 in steps
    assert [s for s in steps if s > 200][0] == 401  # noqa: RUF015 - the first of the later ones


def test_reference_prefers_known_chance_and_takes_off_the_floor() -> None:
    values = {"loss/level": np.float64(1.0), "loss/relative": np.float64(0.5)}
    assert reference(Reading(9, 0, values)) == Reference(2.0, 0.0, known=False)
    ref = reference(Reading(9, 0, values, Facts(chance_loss=3.0, loss_floor=1.0)))
    assert ref == Reference(3.0, 1.0, known=True)
    assert (ref.span, ref.relative(2.0), ref.loss(0.5), ref.name) == (2.0, 0.5, 2.0, "chance")
    assert reference(Reading(9, 0, values, Facts(chance_loss=3.0, loss_floor=4.0))) == Reference(3.0, 0.0, known=True)
    assert reference(Reading(9, 0, {})) is None
    assert reference(Reading(9, 0, {}), 1.5) == Reference(1.5, 0.0, known=False)
    assert reference(Reading(9, 0, values, Facts(chance_loss=-1.0))) == Reference(2.0, 0.0, known=False)


def test_one_objective() -> None:
    one_objective(Reading(1, 0, {}, Facts(optimizers=("Adam",))))
    with pytest.raises(NotMeasurable, match="2 optimizers"):
        one_objective(Reading(1, 0, {}, Facts(optimizers=("Adam", "SGD"))))
    with pytest.raises(NotMeasurable, match="manual optimization"):
        one_objective(Reading(1, 0, {}, Facts(automatic_optimization=False)))
