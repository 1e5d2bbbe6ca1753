from __future__ import annotations

from typing import Any, ClassVar

import pytest

from lightning_diag._device_clock import DeviceClock
from lightning_diag.probes.clock import Clock


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def fetch(clock: Clock, time: Time, seconds: float) -> None:
    clock.fetch()
    time.passes(seconds)
    clock.fetched()


def test_waits_of_first_batches_and_of_others_are_kept_apart(time: Time) -> None:
    clock = Clock(time)
    time.passes(0.5)
    clock.epoch(0.5)
    for wait in (2.0, 0.1, 0.3):
        fetch(clock, time, wait)
        time.passes(1.0)
    lap = clock.lap()
    assert (lap.batches, lap.firsts) == (3, 1)
    assert lap.wait_s == pytest.approx(0.4) and lap.first_s == pytest.approx(2.5)
    assert lap.elapsed_s == pytest.approx(5.9)
    assert clock.lap().batches == 0


def test_validation_and_checkpoints_are_no_training_time(time: Time) -> None:
    clock = Clock(time)
    clock.validates()
    time.passes(7.0)
    clock.validated()
    time.passes(2.0)
    clock.saved(2.0)
    time.passes(1.0)
    assert clock.lap().elapsed_s == pytest.approx(1.0)
    assert (clock.validation_s, clock.checkpoint_s, clock.elapsed_s) == (7.0, 2.0, 10.0)
    time.passes(3.0)
    assert clock.lap().elapsed_s == pytest.approx(3.0)


class Event:
    """A CUDA event of a device that is idle from 3 ms to 8 ms."""

    made: ClassVar[list[Event]] = []

    def __init__(self) -> None:
        self.at = 3.0 if len(Event.made) % 2 == 0 else 8.0
        Event.made.append(self)

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: Any, /) -> float:
        return float(end.at - self.at)


def test_with_a_device_its_own_idle_time_is_taken_before_sampled_steps_only(time: Time) -> None:
    clock = Clock(time)
    clock.idle = DeviceClock(True, Event)
    due = iter([True, False])
    clock.due = lambda: next(due)
    fetch(clock, time, 0.1)
    fetch(clock, time, 0.1)
    assert len(Event.made) == 2
    assert [round(seconds, 6) for _, seconds in clock.idle.passed()] == [0.005]
