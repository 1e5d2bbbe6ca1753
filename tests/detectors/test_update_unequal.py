"""One of two optimizers that compete hardly moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_diag._judge import Judge
from lightning_diag.detectors.update_unequal import UpdateUnequal
from lightning_diag.diagnosis import diagnose
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.loss_stream import News, eat, reason, resumed

PAIR = Facts(optimizers=("Adam", "SGD"), shared_loss=False, names={"optimizer": ("generator", "critic")})
NAN = float("nan")


def stream(*ratios: float, facts: Facts = PAIR, every: int = 2, n: int = 100, **more: Any) -> list[Reading]:
    values = {"update/optimizer_ratio": np.array(ratios)} | {k: np.asarray(v) for k, v in more.items()}
    return [Reading(1 + every * i, 0, values, facts) for i in range(n)]


def watched(readings: list[Reading]) -> News:
    return eat(Judge([UpdateUnequal()]), readings)


def test_the_slow_one_is_named_with_the_factor_and_leads_to_its_cause() -> None:
    ((step, found),) = watched(stream(1e-2, 2e-4))
    assert step == 65 and found.severity == Severity.WARNING and found.where == ("critic",)
    assert found.evidence["value"] == pytest.approx(50) and "50 times less than generator (limit 20" in found.message
    assert "12 times as large" in found.advice[0]
    cause = diagnose([found]).causes[0]
    assert cause.name == "unequal-optimizers" and cause.where == ("critic",)


def test_two_time_scales_and_a_fast_generator_are_left_alone() -> None:
    assert watched(stream(1e-3, 4e-3)) == []
    assert watched(stream(1.1e-2, 6e-4)) == []


def test_it_is_over_when_both_move_again() -> None:
    readings = stream(1e-2, 2e-4) + [
        Reading(300 + i, 0, {"update/optimizer_ratio": np.array([1e-2, 5e-3])}, PAIR) for i in range(40)
    ]
    assert watched(readings)[-1][1].status == "resolved"


def test_optimizers_that_take_turns_are_compared_by_their_own_steps() -> None:
    turns = [Reading(1 + i, 0, {"update/optimizer_ratio": np.array([1e-2, NAN][:: 1 if i % 5 else -1])}, PAIR)
             for i in range(300)]  # fmt: skip
    assert watched(turns) == []
    slow = [Reading(1 + i, 0, {"update/optimizer_ratio": np.array([1e-2, NAN] if i % 5 else [NAN, 1e-4])}, PAIR)
            for i in range(300)]  # fmt: skip
    assert watched(slow)[0][1].where == ("critic",)


def test_what_is_not_judged() -> None:
    assert "one loss" in reason(
        UpdateUnequal(), stream(1e-2, 2e-4, facts=Facts(optimizers=("a", "b"), shared_loss=True))
    )
    assert "one optimizer" in reason(
        UpdateUnequal(), [Reading(1, 0, {"update/optimizer_ratio": np.array([1e-2])}, PAIR)]
    )
    assert "fewer than 20" in reason(UpdateUnequal(), stream(1e-2, 0.0))  # the other never stepped: another rule's
    unequal = {"update/optimizer_ratio": np.array([1e-2, 2e-4])}
    rising = [Reading(1 + i, 0, {**unequal, "lr": np.array([1e-5 * (i + 1)])}, PAIR)
              for i in range(150)]  # fmt: skip
    assert watched(rising) == []


def test_a_resumed_run_says_the_same() -> None:
    readings = stream(1e-2, 2e-4)
    assert resumed(UpdateUnequal, readings, 25) == watched(readings)


def test_arguments_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="ratio must be"):
        UpdateUnequal(ratio=0.5)
