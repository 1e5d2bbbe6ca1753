"""One of two optimizers that compete hardly moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
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


NETS = ("generator", "critic")
NAMES = {
    "optimizer": NETS,
    "parameter": tuple(f"net.{net}.{i}.weight" for net in NETS for i in (0, 2)),
    "module": tuple(f"net.{net}.{i}" for net in NETS for i in (1, 3)),
}
TWO = Facts(
    optimizers=("Adam", "Adam"), shared_loss=False, names=NAMES, parameter_kind=("matrix",) * 4,
    parameter_numel=(4096,) * 4, parameter_optimizer=(0, 0, 1, 1), in_optimizer=(True,) * 4,
)  # fmt: skip


def young(far: tuple[float, float], dead: tuple[float, ...], facts: Facts = TWO, size: float = 4.0) -> list[Reading]:
    """Weights that go so far within 30 steps, over their size, and stay there; units are dead from step 20 on."""
    made = []
    for step in range(1, 120):
        values = {
            "update/optimizer_ratio": np.array([1e-2, 2e-3]),
            "weight/parameter_norm": np.full(4, size),
            "weight/distance": np.repeat(far, 2) * size * min(step / 30, 1),
        }
        if step >= 20:
            values["activation/dead_frac"] = np.array(dead)
        made.append(Reading(step, 0, values, facts))
    return made


def test_one_that_replaced_its_weights_and_killed_its_units_is_named_with_them() -> None:
    ((step, found),) = watched(young((0.95, 0.2), (0.1, 0.6, 0.0, 0.1)))
    assert step == 25 and found.severity == Severity.WARNING and found.where == ("generator", "net.generator.3")
    assert "generator moved its weights by 0.792 of their size" in found.message
    assert "critic by 0.167, and 60 % of the units of net.generator.3 are dead" in found.message
    assert diagnose([found]).causes[0].name == "unequal-optimizers"


def test_neither_half_of_it_is_enough() -> None:
    assert watched(young((0.95, 0.2), (0.1, 0.25, 0.5, 0.6))) == []  # the other's units are dead
    assert watched(young((0.65, 0.2), (0.9, 0.9, 0.0, 0.0))) == []
    assert watched(young((0.95, 0.6), (0.9, 0.9, 0.0, 0.0))) == []  # both are as fast
    assert watched(young((0.95, 0.2), (NAN,) * 4)) == []  # nothing that can die


def test_small_initial_weights_have_to_move() -> None:
    assert watched(young((0.95, 0.2), (0.1, 0.6, 0.0, 0.1), size=1.0)) == []


def test_weights_that_go_far_later_are_left_alone_and_so_is_one_module_for_all() -> None:
    late = [
        Reading(step, 0, {**reading.values, "weight/distance": np.array([0.08, 0.08, 0.01, 0.01]) * step}, TWO)
        for step, reading in enumerate(young((0.0, 0.0), (0.9,) * 4), 1)
    ]
    assert watched(late) == []
    one = {**NAMES, "parameter": tuple(f"{net}.weight" for net in "abcd")}
    assert watched(young((0.95, 0.2), (0.9,) * 4, facts=TWO.merged({"names": one}))) == []


def test_a_resumed_run_says_the_same_of_weights_that_were_replaced() -> None:
    readings = young((0.95, 0.2), (0.1, 0.6, 0.0, 0.1))
    assert resumed(UpdateUnequal, readings, 22) == watched(readings)
