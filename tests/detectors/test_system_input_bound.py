from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_diag.detectors.system_input_bound import SystemInputBound
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading

LOADER = {"num_workers": 2, "pin_memory": 0, "persistent_workers": 0, "cpus": 8}


def watch(rule: SystemInputBound, readings: list[Reading]) -> list[tuple[int, Finding]]:
    found = []
    for reading in readings:
        try:
            finding = rule.update(reading)
        except NotMeasurable:
            continue
        if finding is not None:
            found.append((reading.step, finding))
    return found


def laps(
    waits: Any, batch_s: float = 0.1, *, every: int = 1, epoch_of: Any = None, first_s: float = 0.0, **facts: Any
) -> list[Reading]:
    """A reading every ``every`` steps, with the mean of their waits; an epoch's first reading holds ``first_s``."""
    known = Facts(**{"loader": LOADER, "device": "cpu", **facts})
    made, epoch = [], -1
    for i in range(0, len(waits) - every + 1, every):
        now = 0 if epoch_of is None else epoch_of(i)
        values = {
            "time/batch_s": batch_s, "time/wait_s": float(np.mean(waits[i : i + every])), "time/batches": float(every),
            "time/first_wait_s": first_s if now != epoch else 0.0,
        }  # fmt: skip
        epoch = now
        made.append(Reading(i + every, now, values, known))
    return made


@pytest.mark.parametrize("every", [1, 8, 32, 100])
def test_waiting_is_told_with_its_share_and_the_setting_to_change(every: int) -> None:
    found = watch(SystemInputBound(), laps(np.full(600, 0.03), every=every))
    step, finding = found[0]
    assert step <= 84 + 4 * every and str(finding.severity) == "warning"
    assert finding.evidence["value"] == pytest.approx(0.3) and finding.evidence["limit"] == 0.2
    assert finding.advice[0] == "raise num_workers from 2 towards the 8 cores there are"


def test_between_the_limits_it_is_a_note() -> None:
    found = watch(SystemInputBound(), laps(np.full(300, 0.015)))
    assert {str(finding.severity) for _, finding in found} == {"info"}


def test_bursts_of_several_workers_count_though_most_waits_are_nothing() -> None:
    found = watch(SystemInputBound(), laps(np.tile([0.12, 0, 0, 0], 100)))
    assert found and found[0][1].evidence["value"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    "waits",
    [
        np.full(400, 0.004),  # below 5 % and 5 ms
        np.where(np.arange(400) < 20, 0.09, 0.001),  # a cold start
        np.where(np.arange(400) % 130 == 65, 5.0, 0.001),  # a pause now and then: another program, a cache
        np.full(400, np.nan),
    ],
    ids=["fast", "cold start", "pauses", "nan"],
)
def test_healthy_loading_is_silent(waits: Any) -> None:
    assert watch(SystemInputBound(), laps(waits)) == []


def test_tiny_steps_that_load_as_fast_as_they_train_are_not_worth_a_word() -> None:
    assert watch(SystemInputBound(), laps(np.full(400, 0.0004), batch_s=0.001)) == []


def test_a_fault_after_numbers_that_are_none_is_found() -> None:
    found = watch(SystemInputBound(), laps(np.concatenate([np.full(100, np.nan), np.full(200, 0.05)])))
    assert found and str(found[0][1].severity) == "warning"


def test_workers_that_start_anew_each_epoch_are_told_as_that() -> None:
    readings = laps(np.zeros(200), epoch_of=lambda i: i // 20, first_s=1.0, batch_s=0.2)
    found = watch(SystemInputBound(), readings)
    step, finding = found[0]
    assert step == 61 and str(finding.severity) == "warning"  # the first two epochs are over
    assert "workers restart each epoch: persistent_workers=True" in finding.message
    assert finding.evidence["value"] == pytest.approx(0.25)


def test_short_epochs_that_start_slowly_are_a_note() -> None:
    readings = laps(np.zeros(200), epoch_of=lambda i: i // 20, first_s=0.2, batch_s=0.02)
    found = watch(SystemInputBound(), readings)
    assert found and {str(f.severity) for _, f in found} == {"info"}


def test_a_slow_first_epoch_alone_is_silent() -> None:
    readings = [
        Reading(r.step, r.epoch, {**r.values, "time/first_wait_s": 5.0 if r.step == 1 else 0.0}, r.facts)
        for r in laps(np.zeros(200), epoch_of=lambda i: i // 20)
    ]
    assert watch(SystemInputBound(), readings) == []


def test_on_a_device_only_its_own_idle_time_counts() -> None:
    hidden = laps(np.full(300, 0.05), device="cuda")
    with pytest.raises(NotMeasurable, match="nothing to do"):
        SystemInputBound().update(hidden[0])
    busy = [Reading(r.step, 0, {**r.values, "time/idle_s": 0.001}, r.facts) for r in hidden]
    assert watch(SystemInputBound(), busy) == []
    idle = [Reading(r.step, 0, {**r.values, "time/idle_s": 0.04}, r.facts) for r in hidden]
    finding = watch(SystemInputBound(), idle)[0][1]
    assert finding.evidence["value"] == pytest.approx(0.4) and any("pin_memory" in line for line in finding.advice)


def test_it_goes_on_after_a_stop() -> None:
    readings = laps(np.full(200, 0.03))
    whole, half = SystemInputBound(), SystemInputBound()
    one = watch(whole, readings)
    watch(half, readings[:70])
    again = SystemInputBound()
    again.load_state_dict(half.state_dict())
    assert watch(again, readings[70:]) == [(s, f) for s, f in one if s > 70]
