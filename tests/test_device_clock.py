from __future__ import annotations

from lightning_diag._device_clock import DeviceClock


class Device:
    """A stream whose work is done when somebody says so."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.done_ms = 0.0


class FakeEvent:
    def __init__(self, device: Device) -> None:
        self.device = device

    def record(self) -> None:
        self.at_ms = self.device.now_ms

    def query(self) -> bool:
        return self.at_ms <= self.device.done_ms

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.query()
        assert end.query()
        return end.at_ms - self.at_ms


def step(clock: DeviceClock, device: Device, ms: float, *, sampled: bool) -> None:
    clock.start()
    device.now_ms += ms
    clock.stop(sampled=sampled)


def test_steps_are_read_in_order_once_the_device_has_passed_them() -> None:
    device = Device()
    clock = DeviceClock(True, lambda: FakeEvent(device))
    step(clock, device, 10.0, sampled=False)
    step(clock, device, 14.0, sampled=True)
    assert list(clock.passed()) == []
    device.done_ms = 10.0
    assert list(clock.passed()) == [(False, 0.01)]
    device.done_ms = 24.0
    assert list(clock.passed()) == [(True, 0.014)]
    assert list(clock.passed()) == []


def test_a_step_that_was_not_started_is_not_timed_and_old_ones_are_forgotten() -> None:
    device = Device()
    clock = DeviceClock(True, lambda: FakeEvent(device))
    clock.stop(sampled=True)
    for _ in range(3 * DeviceClock.FLYING):
        step(clock, device, 1.0, sampled=True)
    device.done_ms = device.now_ms
    assert len(list(clock.passed())) == DeviceClock.FLYING


def test_without_a_device_no_event_is_made() -> None:
    clock = DeviceClock(False)  # the default maker would raise without CUDA
    clock.start()
    clock.stop(sampled=True)
    assert list(clock.passed()) == []
