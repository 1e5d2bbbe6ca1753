"""Presses the clock where Lightning fetches batches and saves checkpoints, and takes its hands off at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any

from lightning_diag._device_clock import DeviceClock
from lightning_diag.probes.clock import Clock

_FETCHING = ("on_run_start", "_on_before_fetch", "_on_after_fetch")


class Stopwatch:
    """Puts timed functions in front of three methods of the training loop and one of the trainer.

    They are attributes of these very objects, call what was there and return what it returns.

    Args:
        trainer: the trainer; it is let go of by :meth:`remove`.
        clock: what is pressed.
        due: whether the coming step is sampled.
        device: device type of the module.
    """

    def __init__(self, trainer: Any, clock: Clock, due: Callable[[], bool], device: str | None) -> None:
        self._put: list[tuple[Any, str]] = []
        loop = getattr(getattr(trainer, "fit_loop", None), "epoch_loop", None)
        if not all(callable(getattr(loop, name, None)) for name in _FETCHING):
            return  # another Lightning: not measurable, and told so
        clock.running = True
        if device == "cuda":
            clock.idle, clock.due = DeviceClock(True), due
        self._wrap(loop, "on_run_start", lambda inner: _after(inner, clock.epoch))
        self._wrap(loop, "_on_before_fetch", lambda inner: _followed(inner, clock.fetch))
        self._wrap(loop, "_on_after_fetch", lambda inner: _preceded(clock.fetched, inner))
        self._wrap(trainer, "save_checkpoint", lambda inner: _after(inner, clock.saved))

    def remove(self) -> None:
        """Take everything out again."""
        for owner, name in self._put:
            vars(owner).pop(name, None)
        self._put.clear()

    def _wrap(self, owner: Any, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        if name not in vars(owner):  # somebody else's stays where it is
            setattr(owner, name, wrapper(getattr(owner, name)))
            self._put.append((owner, name))


def _after(inner: Callable[..., Any], tell: Callable[[float], None]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        result = inner(*args, **kwargs)
        tell(perf_counter() - start)
        return result

    return timed


def _followed(inner: Callable[[], None], press: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        inner()
        press()

    return call


def _preceded(press: Callable[[], None], inner: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        press()
        inner()

    return call
