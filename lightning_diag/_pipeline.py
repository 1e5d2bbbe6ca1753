"""The way of one step: hooks -> probes -> Packet -> transfer -> Reading -> judge -> Findings -> sinks.

Knows the bases of probes, detectors and sinks, and none of their members. Knows no Lightning.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lightning_diag._judge import Judge
from lightning_diag._schedule import Schedule
from lightning_diag._transfer import HostPacket, Transfer, is_finite_now
from lightning_diag.finding import Finding
from lightning_diag.packet import Packet
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.observer import Observer
from lightning_diag.probes.origin import bad_inputs, bad_weights, first_bad_module
from lightning_diag.probes.parameters import TrainedParameters
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks.base import RunInfo, Sink

log = logging.getLogger("lightning_diag")


@dataclass
class Guard:
    """The one place where our own exceptions end. A part that raises is switched off and named once.

    Attributes:
        strict: raise instead (for tests).
        failed: part -> what it raised.
    """

    strict: bool = False

    def __post_init__(self) -> None:
        self.failed: dict[str, str] = {}

    def tell(self, part: str, error: BaseException) -> None:
        """Note a failure; warns the first time a part fails."""
        if self.strict:
            raise error
        if part not in self.failed:
            self.failed[part] = f"{type(error).__name__}: {error}"
            log.warning("%s failed and is switched off; training goes on. %s", part, self.failed[part])


class Pipeline:
    """One run's pipeline, shared by all monitors of a trainer.

    Args:
        probes: ``(owner, probe)``; the owner is the monitor named when its probe fails.
        judge: the detectors and their findings.
        sinks: where readings and findings go (empty on ranks above 0).
        schedule: which steps are sampled.
        guard: where exceptions end.
        on_finding: called with every new, worse, returned or resolved finding.
    """

    def __init__(
        self,
        probes: Sequence[tuple[str, Probe]],
        judge: Judge,
        sinks: Sequence[Sink],
        schedule: Schedule,
        guard: Guard,
        on_finding: Callable[[Finding], None] | None = None,
    ) -> None:
        self.judge = judge
        self.sinks = list(sinks)
        self.schedule = schedule
        self.guard = guard
        self.on_finding = on_finding
        self.facts = Facts()
        self.last_step = 0
        self._probes = list(probes)
        self._observer: Observer | None = None
        self._sampling = False
        self._batch: Batch | None = None
        self._traced = False
        self._from_outputs = False
        self._extra: Values = []
        self._in_validation = False

    # ------------------------------------------------------------------ start and end

    def start(self, scene: Scene, run: RunInfo, transfer: Transfer) -> None:
        """Open the sinks, attach the probes and learn the facts of the run."""
        self.facts, self._scene, self._transfer = scene.facts, scene, transfer
        self._observer = Observer(scene.module, scene.observe)
        self._parameters = TrainedParameters.of(scene.module, scene.optimizers)
        unmeasured: dict[str, str] = {}
        for owner, probe in list(self._probes):
            unmeasured.update(self._try(owner, probe, probe.attach, scene) or {})
        for owner, probe in list(self._probes):
            self.know(self._try(owner, probe, probe.facts) or {})
        self.know({"unmeasured": unmeasured})
        self._each_sink(lambda sink: sink.open(run))
        self._split()

    def finish(self, *, failed: bool = False) -> None:
        """Drain the device, judge the end of the run, close the sinks. Safe to call twice."""
        if self._observer is None:
            return
        self._observer.detach()
        self._observer = None
        try:
            self._arrive(self._transfer.finish(collective=not failed))
            if not failed and self.last_step:
                end = Reading(self.last_step, self._epoch, {"run/ended": np.float64(1.0)}, self.facts, stage="end")
                self._judge(end)
        finally:
            for owner, probe in list(self._probes):
                self._try(owner, probe, probe.detach)
            diagnosis = self.judge.diagnosis
            self._each_sink(lambda sink: sink.close(diagnosis))
            self._batch = None

    # ------------------------------------------------------------------ training

    def batch_start(self, batch: Any, batch_idx: int, epoch: int, step: int, *, first: bool) -> None:
        """A micro-batch begins; ``first`` of its optimizer step, whose number is ``step``."""
        self._epoch, self._step = epoch, step
        if first:
            self._sampling = self.schedule.due(step)
        self._batch = Batch(batch, batch_idx)
        if self._observer is not None:
            self._observer.start(self._sampling)
        if self._sampling:
            for owner, probe in self._active:
                self._try(owner, probe, probe.batch_start, self._batch)

    def loss(self, loss: Tensor) -> None:
        """The undivided, unscaled, detached loss of the micro-batch is known; backward comes next."""
        batch = self._batch
        if batch is None or self._observer is None:
            return
        batch.loss = loss
        if not self._traced and is_finite_now(loss) is False:
            self._trace(batch)
        if self._sampling and batch.observation is None and not self._from_outputs and self._scene.observe is None:
            self._look(batch)
        self._observer.drop()
        for owner, probe in self._active if self._sampling else self._every:
            self._try(owner, probe, probe.loss, batch)
        if batch.observation is not None or batch.captured:
            self._observed(batch)

    def before_update(self, optimizer: int) -> None:
        """Gradients are complete and not yet clipped."""
        if self._sampling:
            for owner, probe in self._active:
                self._try(owner, probe, probe.before_update, optimizer)

    def after_update(self, optimizer: int) -> None:
        """The optimizer has really stepped."""
        if self._sampling:
            for owner, probe in self._active:
                self._try(owner, probe, probe.after_update, optimizer)

    def batch_end(self, outputs: Any, *, stepped: bool) -> None:
        """A micro-batch is done; with ``stepped`` its optimizer step is, and its packet departs."""
        batch = self._batch
        if batch is None or self._observer is None:
            return
        if self._sampling and batch.observation is None:
            batch.outputs = outputs
            self._look(batch)
            if batch.observation is not None:
                self._from_outputs = True
                self._observed(batch)
        if not stepped:
            return
        self.last_step = self._step
        values, self._extra = self._extra, []
        for owner, probe in self._active if self._sampling else self._every:
            values += self._try(owner, probe, probe.collect) or []
        if self._sampling:
            values.append(("system/overhead_frac", np.float64(self.schedule.overhead_frac)))
            values.append(("system/interval_steps", np.float64(self.schedule.interval)))
        self._batch = None
        if values:
            self._depart(batch.batch_idx, values)

    def step_done(self, *, own_s: float, step_s: float) -> None:
        """Book the time of a finished optimizer step."""
        self.schedule.done(self.last_step, sampled=self._sampling, own_s=own_s, step_s=step_s)

    # ------------------------------------------------------------------ validation

    def validation_start(self) -> None:
        """A validation pass begins."""
        self._in_validation = True
        for owner, probe in self._active:
            self._try(owner, probe, probe.validation_start)

    def validation_batch_start(self) -> None:
        """A validation batch is about to be used."""
        if self._in_validation and self._observer is not None:
            self._observer.start(True)

    def validation_batch(self, batch: Any, batch_idx: int, loader: int, outputs: Any) -> None:
        """A validation batch was used."""
        if not self._in_validation or self._observer is None:
            return
        made = Batch(batch, batch_idx, loader, outputs=outputs)
        self._look(made)
        for owner, probe in self._active:
            self._try(owner, probe, probe.validation_batch, made)

    def validation_end(self, metrics: Mapping[str, Tensor], epoch: int) -> None:
        """The pass is over; ``metrics`` are those the user logged."""
        if not self._in_validation:
            return
        self._in_validation = False
        values: Values = []
        for owner, probe in self._active:
            values += self._try(owner, probe, probe.validation_end, metrics) or []
        if values and self._observer is not None:
            self._transfer.submit(Packet.pack(self.last_step, epoch, -1, "validation", values))
            self._arrive(self._transfer.landed())

    # ------------------------------------------------------------------ inside

    def _depart(self, batch_idx: int, values: Values) -> None:
        """Send the step's packet and judge what has arrived; a lone scalar takes the short way where there is one."""
        name, value = values[0]
        if len(values) == 1 and isinstance(value, Tensor) and value.ndim == 0:
            scalar = self._transfer.at_once(value)
            if scalar is not None:
                self._judge(Reading(self._step, self._epoch, {name: scalar}, self.facts, batch_idx))
                return
        packet = Packet.pack(self._step, self._epoch, batch_idx, "train", values)
        self._transfer.submit(packet, urgent=self._sampling)
        self._arrive(self._transfer.landed())

    def _look(self, batch: Batch) -> None:
        assert self._observer is not None
        try:
            batch.captured = self._observer.outputs()
            batch.observation = self._observer.look(batch.batch, batch.outputs)
        except Exception as error:
            self.guard.tell("the observation of predictions", error)
            self._observer.observe = None

    def _observed(self, batch: Batch) -> None:
        for owner, probe in self._active:
            self._try(owner, probe, probe.observed, batch)
        batch.captured = ()

    def _trace(self, batch: Batch) -> None:
        """The first non-finite loss: what was non-finite first, input, weight or module output?"""
        assert self._observer is not None
        self._traced = True
        calls = list(self._observer.calls)
        try:
            inputs, bad = bad_inputs(batch.batch)
            weights = bad_weights(self._parameters.tensors)
            names = {"input": inputs, "parameter": self._parameters.names}
            self._extra += [("origin/input", bad), ("origin/weight", weights)] if len(inputs) else []
            if not bad.any() and not weights.any():
                guilty = first_bad_module(self._scene.module, calls)
                names["submodule"] = (guilty,) if guilty else ()
                self._extra.append(("origin/module", np.ones(len(names["submodule"]))))
            self.know({"names": names})
        except Exception as error:
            self.guard.tell("the search for the first non-finite value", error)

    def _arrive(self, packets: Iterable[HostPacket]) -> None:
        for packet, values in packets:
            reading = Reading(packet.step, packet.epoch, values, self.facts, packet.batch_idx, packet.stage)
            for owner, probe in self._active:
                if not reading.values.keys().isdisjoint(probe.signals):
                    self.know(self._try(owner, probe, probe.learn, reading) or {})
            self._judge(dataclasses.replace(reading, facts=self.facts))

    def _judge(self, reading: Reading) -> None:
        reading = self.judge.enrich(reading)
        changes = self.judge.update(reading)
        self._each_sink(lambda sink: sink.reading(reading))
        for finding in changes:
            self._each_sink(lambda sink, finding=finding: sink.finding(finding))  # type: ignore[misc]
            self._tell_user(finding)

    def _tell_user(self, finding: Finding) -> None:
        if self.on_finding is None:
            return
        try:
            self.on_finding(finding)
        except Exception as error:
            self.on_finding = None
            self.guard.tell("on_finding", error)

    def know(self, learned: Mapping[str, Any]) -> None:
        """Take in new facts; names and reasons are merged, everything else replaced."""
        if not learned:
            return
        merged = dict(learned)
        for field in ("names", "unmeasured"):
            if field in merged:
                merged[field] = {**getattr(self.facts, field), **merged[field]}
        self.facts = dataclasses.replace(self.facts, **merged)

    def _split(self) -> None:
        self._active = [(owner, p) for owner, p in self._probes]
        self._every = [(owner, p) for owner, p in self._probes if p.every_step]

    def _try(self, owner: str, probe: Probe, call: Callable[..., Any], *args: Any) -> Any:
        """Call a probe; one that raises is switched off, its owner named."""
        try:
            return call(*args)
        except Exception as error:
            self._probes = [(o, p) for o, p in self._probes if p is not probe]
            self._split()
            reason = f"{owner} failed: {type(error).__name__}: {error}"
            self.know({"unmeasured": dict.fromkeys(probe.signals, reason)})
            self.guard.tell(owner, error)
            return None

    def _each_sink(self, call: Callable[[Sink], None]) -> None:
        for sink in list(self.sinks):
            try:
                call(sink)
            except Exception as error:
                self.sinks.remove(sink)
                self.guard.tell(type(sink).__name__, error)
