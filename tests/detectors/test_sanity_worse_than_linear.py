from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightning_diag.detectors.sanity_worse_than_linear import SanityWorseThanLinear
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from tests.detectors.class_stream import judged

FACTS = Facts(planned_steps=1000, loss_kind="mse")


def passes(own: Sequence[float], linear: float = 0.93, n: float = 400) -> list[Finding | None]:
    readings = [
        Reading(
            1000 * (i + 1) // len(own), i,
            {"accuracy/val": np.float64(a), "baseline/accuracy": np.float64(linear), "baseline/samples": np.float64(n)},
            FACTS, stage="validation",
        )
        for i, a in enumerate(own)
    ]  # fmt: skip
    return judged(SanityWorseThanLinear(), readings)


def test_a_network_that_stays_behind_is_told_and_one_that_is_level_or_ahead_is_not() -> None:
    found = [f for f in passes([0.6] * 10) if f is not None]
    assert found[0].step == 600
    assert str(found[0].severity) == "warning"
    assert not any(passes([0.92] * 10))
    assert not any(passes([0.97] * 10))


def test_a_network_a_few_points_behind_is_a_note() -> None:
    assert {str(f.severity) for f in passes([0.86] * 10) if f is not None} == {"info"}
    assert {str(f.severity) for f in passes([0.82] * 10) if f is not None} == {"warning"}
    last = passes([0.82] * 8 + [0.86] * 2)[-1]  # a warning needs all of the last ones
    assert last is not None and str(last.severity) == "info"


def test_catching_up_and_small_samples_are_no_reason() -> None:
    assert {str(f.severity) for f in passes([0.4 + 0.04 * i for i in range(10)]) if f is not None} == {"info"}
    assert not any(passes([0.6] * 10, n=15))
    assert not any(passes([0.86] * 10, linear=0.95, n=40))  # 9 points are no more than 3 standard errors of 40 samples


def test_numbers_are_compared_by_their_squared_error() -> None:
    def run(loss: float, facts: Facts = FACTS) -> list[Finding | None]:
        values = {"baseline/error": np.float64(0.5), "baseline/samples": np.float64(100), "loss/val": np.float64(loss)}
        return judged(SanityWorseThanLinear(), [Reading(100 * i, i, values, facts) for i in range(3, 11)])

    assert any(run(0.9))
    assert not any(run(0.55))
    assert not any(run(0.9, Facts(planned_steps=1000, loss_kind="l1")))
    assert not any(run(float("nan")))


def test_it_ends_when_the_network_is_ahead() -> None:
    assert passes([0.6] * 6 + [0.97] * 4)[-4:] == [None] * 4
