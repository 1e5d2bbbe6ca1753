from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from lightning_diag.detectors.system_memory_growth import GIB, SystemMemoryGrowth
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading

N = 4000
STEPS = np.arange(1, N + 1, 8)


def watch(held: Any, *, signal: str = "memory/host_bytes", free: float = 64e9, plan: int | None = N) -> list[Finding]:
    rule, found = SystemMemoryGrowth(), []
    for step, value in zip(STEPS, held, strict=True):
        values = {signal: np.float64(value), "memory/free_bytes": np.float64(free)}
        try:
            finding = rule.update(
                Reading(int(step), int(step) // 1000, values, Facts(planned_steps=plan, steps_per_epoch=1000))
            )
        except NotMeasurable:
            continue
        if finding is not None:
            found.append(finding)
    return found


def test_steady_growth_is_a_note_and_a_warning_once_it_will_not_fit() -> None:
    held = 2e9 + 1.5e6 * STEPS
    assert {str(f.severity) for f in watch(held)} == {"info"}
    tight = watch(held, free=2e9)
    assert str(tight[0].severity) == "warning" and "runs out about step" in tight[0].message
    assert tight[0].where == ("host",) and tight[0].evidence["bytes_a_step"] == pytest.approx(1.5e6, rel=0.05)


def test_growth_under_a_sawtooth_is_found_and_a_sawtooth_alone_is_not() -> None:
    teeth = 3 * GIB * (STEPS % 400) / 400
    assert watch(2e9 + teeth) == []
    assert watch(2e9 + teeth + 1.5e6 * STEPS)


def test_tensors_that_pile_up_on_the_device_are_a_note() -> None:
    found = watch(1e9 + 1e6 * STEPS, signal="memory/device_bytes", free=1.0)
    assert {str(f.severity) for f in found} == {"info"} and found[0].where == ("device",)


@pytest.mark.parametrize(
    "held",
    [
        np.full(len(STEPS), 4e9),
        4e9 + 4e8 * np.random.default_rng(0).standard_normal(len(STEPS)),
        2e9 + 4 * GIB * (STEPS > 2500),  # one step up: another phase of the training
        2e9 + 4 * GIB * np.minimum(1, STEPS / 1200),  # a cache that is full by then
        2e9 + 4 * GIB * (STEPS % 1000 > 900),  # validation
        2e9 + 0.1 * GIB * STEPS / N,
        np.full(len(STEPS), np.nan),
    ],
    ids=["constant", "noise", "one step", "cache", "validation", "little", "nan"],
)
def test_healthy_memory_is_silent(held: Any) -> None:
    assert watch(held) == []


def test_the_first_epoch_is_not_judged() -> None:
    rule = SystemMemoryGrowth()
    with pytest.raises(NotMeasurable, match="fills caches"):
        rule.update(
            Reading(50, 0, {"memory/host_bytes": np.float64(1e9)}, Facts(planned_steps=1000, steps_per_epoch=100))
        )


def test_memory_of_the_rule_is_bounded() -> None:
    rule = SystemMemoryGrowth()
    for step in range(1, 20_001):
        with contextlib.suppress(NotMeasurable):
            rule.update(Reading(step, 1, {"memory/host_bytes": np.float64(1e9)}))
    assert len(rule._held["memory/host_bytes"]) <= 128
