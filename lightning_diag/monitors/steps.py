"""The hooks of one run's training steps: counts them, times them, and sends each the short or the long way."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from torch import Tensor, nn

from lightning_diag._device_clock import DeviceClock
from lightning_diag._pipeline.step import Pipeline
from lightning_diag._ranks.exchange import Exchange
from lightning_diag.monitors import ranks
from lightning_diag.monitors import trainer_view as view


class Steps:
    """Forwards the lead monitor's hooks of training steps to the pipeline.

    Args:
        trainer: the trainer; only its counts are kept.
        pipeline: the run's pipeline, which has started.
        exchange: this process's end of the exchange between several.
        device: device type of the module.
        done: optimizer steps before this fit; None = as Lightning counts them, whose count is one too high after some
            resumes.

    Attributes:
        serves: id of the trainer while it forwards hooks: comparing two numbers is all a hook does at first.
        done: optimizer steps that are done.
    """

    def __init__(
        self, trainer: Any, pipeline: Pipeline, exchange: Exchange | None, device: str | None, done: int | None
    ) -> None:
        self.pipeline, self.schedule = pipeline, pipeline.schedule
        self.serves = 0
        self.done = view.steps_done(trainer) if done is None else done
        self._plain = pipeline.plain
        self._exchange = exchange
        self._scaler = view.scaler(trainer)
        self._clock = DeviceClock(device == "cuda")
        self._at = -1  # the step under way, on the long way
        self._own_s, self._began = 0.0, perf_counter()  # own: in the hooks of this step
        (self._count, self._epochs), self._counted = view.counts(trainer), 0

    def due(self) -> bool:
        """Whether the step of the next batch is sampled."""
        return self._at == -1 and self.schedule.due(self.done + 1)

    def train_start(self) -> None:
        """A checkpoint's count is there by now."""
        self._counted = self._count.completed

    def batch_start(self, trainer: Any, batch: Any, batch_idx: int) -> None:
        """A training micro-batch begins."""
        step, plain, wanted = self.done + 1, self._plain, None
        if plain is not None and self._at == -1 and trainer.accumulate_grad_batches == 1:
            if plain.start(step, batch, batch_idx):
                return
            wanted = plain.wanted
        start = perf_counter()
        first = step != self._at
        if first:
            if plain is not None:
                plain.book(self.done)
            self._at, self._own_s, self._began = step, 0.0, start
        self.pipeline.batch_start(batch, batch_idx, self._epochs.completed, step, first=first, wanted=wanted)
        if first and (self.pipeline.sampling or step + 1 >= self.schedule.next):
            self._clock.start()  # sampled steps, and plain ones just before them
        self._own_s += perf_counter() - start

    def loss(self, trainer: Any, module: nn.Module, loss: Tensor) -> None:
        """Backward is about to run on this loss."""
        plain = self._plain
        if plain is not None and plain.on:
            if plain.loss(loss):
                return
            self._go_the_long_way()
        start = perf_counter()
        value: Tensor | float | None = self.pipeline.number(loss) if self._scaler is None else None
        if value is None or trainer.accumulate_grad_batches != 1:
            value = view.undivided(trainer, module, loss if value is None else value, self._scaler)
        self.pipeline.loss(value)
        self._own_s += perf_counter() - start

    def before_update(self, index: int) -> None:
        """Gradients are complete, unscaled and not yet clipped."""
        start = perf_counter()
        self.pipeline.before_update(index)
        self._own_s += perf_counter() - start

    def after_update(self, index: int) -> None:
        """An optimizer has stepped."""
        start = perf_counter()
        self.pipeline.after_update(index)
        self._own_s += perf_counter() - start

    def batch_end(self, trainer: Any, module: nn.Module, outputs: Any) -> None:
        """A micro-batch is done, and perhaps its optimizer step."""
        counted, plain = self._count.completed, self._plain
        if plain is not None and plain.on:
            if counted != self._counted:
                self._counted, self.done = counted, self.done + 1
                self.pipeline.last_step, self.pipeline.epoch = self.done, self._epochs.completed
                plain.end(self.done, self.pipeline.epoch)
                return
            self._go_the_long_way()
        start = perf_counter()
        stepped = counted != self._counted or not getattr(module, "automatic_optimization", True)
        self._counted = counted
        self.pipeline.batch_end(outputs, stepped=stepped)
        if stepped:
            self._at = -1
            self.done += 1
            if self._exchange is not None:
                sampling = self.pipeline.sampling
                trainer.should_stop |= ranks.follow(self._exchange, self.schedule, self.done, sampling=sampling)
        self._own_s += perf_counter() - start
        if stepped:
            self._finish_step()

    def _finish_step(self) -> None:
        """The optimizer step is over, and our own seconds of its hooks are added up."""
        if self._clock.on:
            self._clock.stop(sampled=self.pipeline.sampling)
            for sampled, seconds in self._clock.passed():
                self.schedule.device(seconds, sampled=sampled)
        self.pipeline.step_done(own_s=self._own_s, step_s=perf_counter() - self._began)
        self.pipeline.sampling = False

    def _go_the_long_way(self) -> None:
        """The step that began as a plain one needs more."""
        plain = self._plain
        assert plain is not None
        self._at, self._began, self._own_s = self.done + 1, plain.began, 0.0
        batch, batch_idx, number = plain.leave()
        epoch = self._epochs.completed
        self.pipeline.take_over(batch, batch_idx, epoch, self._at)
        if number is not None:
            self.pipeline.loss(number)
