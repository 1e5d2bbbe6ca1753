"""A step of which nothing is wanted but its loss: most of a run. What it costs is written here and nowhere else."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from torch import Tensor

from lightning_diag._pipeline.courier import Courier
from lightning_diag._pipeline.roster import Roster
from lightning_diag._pipeline.samples import SampleIds
from lightning_diag._pipeline.schedule import Schedule
from lightning_diag._transfer import Transfer
from lightning_diag.probes.base import Scene
from lightning_diag.probes.observer import Observer


class PlainStep:
    """The short way of a step through the hall, for one process whose losses are read without waiting.

    Between two steps of a model its weights throw our code and data out of the caches, so what counts is how little is
    touched: no probe is told of the step. What it was made of is kept until its end. Where the loss isn't finite, or a
    second one comes, it still can go the long way.

    Attributes:
        on: whether one is under way.
        began: the time at which it began.
        own_s: our own seconds in it, and in those before it since :meth:`book`.
        wanted: whether a probe wanted the last batch that could not begin one.
    """

    @staticmethod
    def possible(scene: Scene, transfer: Transfer) -> bool:
        """Whether one process trains, on the CPU, with one loss a step that nobody has scaled."""
        return transfer.exchange is None and scene.facts.device == "cpu" and scene.automatic and scene.scale is None

    def __init__(
        self, schedule: Schedule, roster: Roster, observer: Observer, samples: SampleIds, transfer: Transfer,
        courier: Courier,
    ) -> None:  # fmt: skip
        self._schedule, self._roster, self._observer, self._samples = schedule, roster, observer, samples
        self._transfer, self._courier, self._teller = transfer, courier, courier.teller
        self.on = self.wanted = False
        self.batch: Any = None
        self.batch_idx = 0
        self.number: float | None = None
        self.began = self.own_s = self._step_s = 0.0
        self._steps = 0

    def start(self, step: int, batch: Any, batch_idx: int) -> bool:
        """Begin one; returns False where the step is sampled or a probe wants its batch."""
        start = perf_counter()
        if step >= self._schedule.next:
            return False
        self.wanted = self._roster.wants()
        if self.wanted:
            return False
        self.on, self.batch, self.batch_idx, self.number, self.began = True, batch, batch_idx, None, start
        if self._observer.armed:
            self._observer.start(False)
        if type(batch) not in (tuple, list):
            self._samples.note(step, batch)
        self.own_s += perf_counter() - start
        return True

    def loss(self, loss: Tensor) -> bool:
        """Take the loss; returns False where that takes more than one finite number."""
        start = perf_counter()
        if self.number is not None:
            return False
        number = self._transfer.at_once(loss)
        if number is None or number - number != 0.0:  # NaN or infinite
            return False
        self.number = number
        self._observer.calls.clear()
        self.own_s += perf_counter() - start
        return True

    def end(self, step: int, epoch: int) -> None:
        """It is over, and its optimizer step done."""
        start = perf_counter()
        number, self.on, self.batch, self.number = self.number, False, None, None
        if number is not None:
            self._teller.loss(step, epoch, self.batch_idx, number, self._courier.facts)
        self._steps += 1
        end = perf_counter()
        self.own_s += end - start
        self._step_s += end - self.began

    def leave(self) -> tuple[Any, int, float | None]:
        """It goes the long way; return the batch, its index and the loss so far."""
        left = self.batch, self.batch_idx, self.number
        self.on, self.batch, self.number = False, None, None
        return left

    def book(self, step: int) -> None:
        """Tell the schedule what the steps took since it was told last; ``step`` is the newest."""
        if self._steps:
            (late_s, late), own_s, step_s, steps = self._teller.late(), self.own_s, self._step_s, self._steps
            self._steps, self.own_s, self._step_s = 0, 0.0, 0.0
            self._schedule.done(
                step, sampled=False, own_s=own_s, step_s=step_s, late_s=late_s, late_steps=late, steps=steps
            )
