"""How long steps take on a CUDA device, by events that are read once they have passed: nothing here waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch


class Event(Protocol):
    """What is used of a ``torch.cuda.Event``."""

    def record(self) -> None:
        """Mark the present end of the stream."""

    def query(self) -> bool:
        """Whether the device has passed it."""

    def elapsed_time(self, end: Any, /) -> float:
        """Milliseconds to a later event."""


def _cuda_event() -> Event:
    event: Event = torch.cuda.Event(enable_timing=True)
    return event


class DeviceClock:
    """Times whole steps on the device's own time line, so that kernels and waiting for the host both count.

    Sampled steps against plain ones beside them tell what a sample costs, whichever of host and device is the slower
    one. Source: PyTorch, "CUDA semantics", section on timing with events.

    Args:
        on: whether there is a device to time; nothing is done otherwise.
        make: makes an event.
    """

    FLYING = 64  # steps that may wait to be read; older ones are forgotten

    def __init__(self, on: bool, make: Callable[[], Event] = _cuda_event) -> None:
        self.on = on
        self._make = make
        self._start: Event | None = None
        self._flying: deque[tuple[bool, Event, Event]] = deque(maxlen=self.FLYING)

    def start(self) -> None:
        """A step that is to be timed begins."""
        if self.on:
            self._start = self._make()
            self._start.record()

    def stop(self, *, sampled: bool) -> None:
        """The step is over; does nothing when it isn't timed."""
        if self._start is None:
            return
        end = self._make()
        end.record()
        self._flying.append((sampled, self._start, end))
        self._start = None

    def passed(self) -> Iterator[tuple[bool, float]]:
        """Yield ``(sampled, seconds)`` of the steps that the device has finished."""
        while self._flying and self._flying[0][2].query():
            sampled, start, end = self._flying.popleft()
            yield sampled, 1e-3 * start.elapsed_time(end)
