"""How long a training waits for its batches: a stopwatch that the trainer's loop presses, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from lightning_diag._device_clock import DeviceClock


@dataclass(frozen=True)
class Lap:
    """What happened since the lap before.

    Attributes:
        elapsed_s: seconds, validation and checkpoints left out.
        batches: training batches fetched.
        wait_s: seconds spent fetching them, without the first of each epoch.
        first_s: seconds until the first batches of epochs were there, making the iterators included.
        firsts: how many those were.
    """

    elapsed_s: float
    batches: int
    wait_s: float
    first_s: float
    firsts: int


class Clock:
    """Adds up seconds on the host; two readings of the time a batch, no waiting for the device.

    On a CUDA device what the host waits for may hide behind work that is queued: there :attr:`idle` times on the
    device's own time line how long it had nothing to do while the batch of a step that is sampled was fetched.

    Args:
        now: the time in seconds.

    Attributes:
        running: whether somebody presses it.
        validation_s: seconds of validation since the start.
        checkpoint_s: seconds of saving checkpoints since the start.
        idle: what times the device; None without one.
        due: whether the coming step is sampled (asked with a device only).
    """

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self.running = False
        self.validation_s = self.checkpoint_s = 0.0
        self.idle: DeviceClock | None = None
        self.due: Callable[[], bool] = lambda: False
        self._now = now
        self._timing = self._fresh = self._begun = False
        self._fetch = self._validation = self._out_s = 0.0
        self.started = self._lap_at = now()
        self._clear()

    def epoch(self, spent_s: float) -> None:
        """An epoch begins; making its iterators took so long."""
        if not self._begun:  # what came before was no training: the sanity check of validation
            self._begun = True
            self.started = self._lap_at = self._now() - spent_s
            self._out_s = self.validation_s = self.checkpoint_s = 0.0
        self._first_s += spent_s
        self._fresh = True

    def fetch(self) -> None:
        """A batch is asked for."""
        if self.idle is not None and self.due():
            self._timing = True
            self.idle.start()
        self._fetch = self._now()

    def fetched(self) -> None:
        """The batch is there (or there was none)."""
        spent = self._now() - self._fetch
        self._batches += 1
        if self._fresh:
            self._fresh = False
            self._first_s += spent
            self._firsts += 1
        else:
            self._wait_s += spent
        if self._timing and self.idle is not None:
            self._timing = False
            self.idle.stop(sampled=True)

    def validates(self) -> None:
        """A validation pass begins."""
        self._validation = self._now()

    def validated(self) -> None:
        """It is over."""
        self._out(self._now() - self._validation)
        self.validation_s += self._now() - self._validation

    def saved(self, spent_s: float) -> None:
        """A checkpoint was saved."""
        self._out(spent_s)
        self.checkpoint_s += spent_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._now() - self.started

    def lap(self) -> Lap:
        """Return what happened since it was asked last."""
        now = self._now()
        elapsed = max(0.0, now - self._lap_at - self._out_s)
        made = Lap(elapsed, self._batches, self._wait_s, self._first_s, self._firsts)
        self._lap_at, self._out_s = now, 0.0
        self._clear()
        return made

    def _out(self, spent_s: float) -> None:
        self._out_s += spent_s

    def _clear(self) -> None:
        self._batches = self._firsts = 0
        self._wait_s = self._first_s = 0.0
