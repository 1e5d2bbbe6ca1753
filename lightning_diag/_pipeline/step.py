"""The way of one step: hooks -> probes -> Packet -> transfer -> Reading -> judge -> Findings -> sinks.

Knows the bases of probes, detectors and sinks, and none of their members. Knows no Lightning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lightning_diag._guard import Guard
from lightning_diag._judge.judge import Judge
from lightning_diag._judge.teller import Teller
from lightning_diag._pipeline.courier import Courier
from lightning_diag._pipeline.plain import PlainStep
from lightning_diag._pipeline.roster import Roster, Whom
from lightning_diag._pipeline.samples import SampleIds
from lightning_diag._pipeline.schedule import Schedule
from lightning_diag._pipeline.tracer import Tracer
from lightning_diag._transfer import Transfer, is_finite_now
from lightning_diag.finding import Finding
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.observer import Observer
from lightning_diag.probes.parameters import TrainedParameters
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks.base import RunInfo, Sink


class Pipeline:
    """One run's pipeline, shared by all monitors of a trainer.

    Args:
        probes: ``(owner, probe)``; the owner is the monitor named when its probe fails.
        judge: the detectors and their findings.
        sinks: where readings and findings go (empty on ranks above 0).
        schedule: which steps are sampled.
        guard: where exceptions end.
        on_finding: called with every new, worse, returned or resolved finding.

    Attributes:
        sampling: whether the step under way is sampled.
        samples: ids of the samples of the last steps.
        last_step, epoch: of the newest optimizer step that is done, and of the newest batch.
        plain: the short way for steps of which only the loss is wanted; None where there is none.
    """

    def __init__(
        self, probes: Sequence[tuple[str, Probe]], judge: Judge, sinks: Sequence[Sink], schedule: Schedule,
        guard: Guard, on_finding: Callable[[Finding], None] | None = None,
    ) -> None:  # fmt: skip
        self.judge, self.schedule, self.guard = judge, schedule, guard
        self.sampling, self.last_step, self.epoch, self.samples = False, 0, 0, SampleIds()
        self._teller = Teller(judge, sinks, guard, on_finding, schedule.look_closely)
        self._roster = Roster(probes, guard, lambda facts: self._courier.hear(facts), self.know)
        self._observer: Observer | None = None
        self.plain: PlainStep | None = None
        self._tracer = Tracer(guard, self.know)
        self._batch: Batch | None = None
        self._from_outputs = self._in_validation = False
        self._extra: Values = []
        self._courier = Courier(Transfer(), self._roster, self._teller, Facts())

    def start(self, scene: Scene, run: RunInfo, transfer: Transfer) -> None:
        """Open the sinks, attach the probes and learn the facts of the run."""
        self._scene, self._transfer = scene, transfer
        self._courier = Courier(transfer, self._roster, self._teller, scene.facts)
        self._observer = Observer(scene.module, scene.observe)
        if PlainStep.possible(scene, transfer):
            self.plain = PlainStep(self.schedule, self._roster, self._observer, self.samples, transfer, self._courier)
        self._parameters = TrainedParameters.of(scene.module, scene.optimizers)
        self._roster.attach(scene)
        self._first_facts = self.facts
        self._teller.each_sink(lambda sink: sink.open(run))

    @property
    def facts(self) -> Facts:
        """What is known of the run."""
        return self._courier.facts

    def know(self, learned: Mapping[str, Any]) -> None:
        """Take in facts, and let other processes know."""
        self._courier.know(learned)

    def state_dict(self) -> dict[str, Any]:
        """Return what probes and facts have learned, for a checkpoint: plain data and tensors on the CPU."""
        self._courier.drain()
        facts, traced = self.facts.learned(self._first_facts, self._roster.lost), self._tracer.done
        return {"probes": self._roster.state_dict(), "facts": facts, "step": self.last_step, "traced": traced}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state_dict` after :meth:`start`; leaves its argument alone."""
        self._courier.hear(state["facts"])
        self.last_step, self._tracer.done = int(state.get("step", 0)), bool(state.get("traced", False))
        self._roster.load_state_dict(state["probes"], self._parameters.device)

    def finish(self, *, failed: bool = False) -> None:
        """Drain the device, judge the end of the run, close the sinks. Safe to call twice."""
        if self._observer is None:
            return
        self._observer.detach()
        self._observer = None
        try:
            self._teller.settle()
            self._courier.finish(failed=failed)
            last = self.last_step if self._courier.alone else self._courier.arrived
            if not failed and last:
                self._teller.take(Reading(last, self.epoch, {"run/ended": np.float64(1.0)}, self.facts, stage="end"))
        finally:
            self._roster.each("detach")
            diagnosis = self.judge.diagnosis
            self._teller.each_sink(lambda sink: sink.close(diagnosis))
            self._batch = None

    def batch_start(self, batch: Any, idx: int, epoch: int, step: int, *, first: bool, wanted: bool | None) -> None:
        """A micro-batch begins; ``first`` of its optimizer step. Does a probe want it (None = they weren't asked)?"""
        self.sampling = self.schedule.due(step) if first else self.sampling
        if wanted is None:
            wanted = not self.sampling and self._roster.wants()
        self._begin(batch, idx, epoch, step, "all" if self.sampling else "wanted" if wanted else "always")
        self.samples.note(step, batch)
        if self._observer is not None:
            self._observer.start(self._whom != "always")
        if self.sampling:
            self._roster.each("batch_start", self._batch)

    def take_over(self, batch: Any, batch_idx: int, epoch: int, step: int) -> None:
        """A micro-batch that began as a :class:`PlainStep` goes on here."""
        self._begin(batch, batch_idx, epoch, step, "always")

    def number(self, loss: Tensor) -> float | None:
        """Return a loss as a number where nothing else is wanted of it and reading it costs no waiting."""
        return None if self.sampling else self._transfer.at_once(loss)

    def loss(self, loss: Tensor | float) -> None:
        """The undivided, unscaled, detached loss of the micro-batch is known; backward comes next."""
        batch = self._batch
        if batch is None or self._observer is None:
            return
        if isinstance(loss, Tensor):
            batch.loss, finite = loss, is_finite_now(loss)
        else:
            batch.number, finite = loss, loss - loss == 0.0
        if finite is False and not self._tracer.done:
            calls = self._observer.calls if self._courier.alone else None
            self._extra += self._tracer.look(self._scene.module, self._parameters, batch.batch, calls)
        if self.sampling:
            batch.calls = tuple(self._observer.calls)
        armed = self._observer.armed and not self._from_outputs and self._scene.observe is None
        if armed and batch.observation is None:
            self._look(batch)
        self._observer.drop()
        self._roster.each("loss", batch, whom=self._whom)
        if self.sampling:
            batch.calls = ()
            if batch.observation is not None or batch.captured:
                self._observed(batch)

    def before_update(self, optimizer: int) -> None:
        """Gradients are complete and not yet clipped."""
        if self.sampling:
            self._roster.each("before_update", optimizer)

    def after_update(self, optimizer: int) -> None:
        """The optimizer has really stepped."""
        if self.sampling:
            self._roster.each("after_update", optimizer)

    def batch_end(self, outputs: Any, *, stepped: bool) -> None:
        """A micro-batch is done; with ``stepped`` its optimizer step is, and its packet departs."""
        batch = self._batch
        if batch is None or self._observer is None:
            return
        if self.sampling and batch.observation is None:
            batch.outputs = outputs
            if self._look(batch):
                self._from_outputs = batch.loss is not None or batch.number is not None  # a step may return no loss
                self._observed(batch)
        if not stepped:
            return
        self.last_step = self._step
        values = self._extra + self._roster.gather("collect", whom=self._whom)
        self._batch, self._extra = None, []
        if self.sampling:
            values.append(("system/overhead_frac", np.float64(self.schedule.overhead_frac)))
            values.append(("system/interval_steps", np.float64(self.schedule.interval)))
        if values:
            self._depart(batch.batch_idx, values)

    def step_done(self, *, own_s: float, step_s: float) -> None:
        """Book the time of a finished optimizer step."""
        late_s, late = self._teller.late()
        own_s += self._roster.took_s() if self.sampling else 0.0
        sampled = self.sampling
        self.schedule.done(self.last_step, sampled=sampled, own_s=own_s, step_s=step_s, late_s=late_s, late_steps=late)

    def settle(self) -> None:
        """Judge what waits: somebody asks for the findings, or the run does something else than steps."""
        if self.plain is not None:
            self.plain.book(self.last_step)
        self._teller.settle()
        self.schedule.late(*self._teller.late())

    def validation_start(self) -> None:
        """A validation pass begins."""
        self._in_validation = True
        self.settle()
        self._roster.each("validation_start")

    def validation_batch_start(self) -> None:
        """A validation batch is about to be used."""
        if self._in_validation and self._observer is not None:
            self._observer.start(True)

    def validation_batch(self, batch: Any, batch_idx: int, loader: int, outputs: Any) -> None:
        """A validation batch was used."""
        if not self._in_validation or self._observer is None:
            return
        made = Batch(batch, batch_idx, loader, outputs=outputs, calls=tuple(self._observer.calls))
        self._look(made)
        self._roster.each("validation_batch", made)

    def validation_end(self, metrics: Mapping[str, Tensor], epoch: int) -> None:
        """The pass is over; ``metrics`` are those the user logged."""
        if not self._in_validation:
            return
        self._in_validation = False
        if (values := self._roster.gather("validation_end", metrics)) and self._observer is not None:
            self._courier.send(self.last_step, epoch, -1, "validation", values)

    def _begin(self, batch: Any, batch_idx: int, epoch: int, step: int, whom: Whom) -> None:
        self.epoch, self._step, self._whom = epoch, step, whom
        self._batch = Batch(batch, batch_idx, epoch=epoch)

    def _depart(self, batch_idx: int, values: Values) -> None:
        """Send the step's packet and judge what has arrived; a number alone needs no packet."""
        name, value = values[0]
        if len(values) == 1 and isinstance(value, float) and name == "loss/train":
            self._teller.loss(self._step, self.epoch, batch_idx, value, self._courier.facts)
            return
        self._courier.send(self._step, self.epoch, batch_idx, "train", values, urgent=self.sampling)

    def _look(self, batch: Batch) -> bool:
        """Find predictions and targets; returns whether there are any."""
        assert self._observer is not None
        try:
            batch.captured = self._observer.outputs()
            scores = self.facts.class_scores is not False
            batch.observation = self._courier.trust(self._observer.look(batch.batch, batch.outputs, scores=scores))
        except Exception as error:
            self.guard.tell("the observation of predictions", error)
            self._observer.observe = None
        return batch.observation is not None

    def _observed(self, batch: Batch) -> None:
        self._roster.each("observed", batch)
        batch.observed, batch.captured = batch.observed or batch.observation is not None, ()
