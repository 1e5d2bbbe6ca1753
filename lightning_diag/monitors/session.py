"""One run of one trainer: builds the pipeline from all monitors in it and forwards the lead monitor's hooks."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_diag._guard import Guard
from lightning_diag._judge.judge import Judge, chosen
from lightning_diag._pipeline.schedule import Schedule
from lightning_diag._pipeline.step import Pipeline
from lightning_diag._transfer import Transfer
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.monitors import ranks
from lightning_diag.monitors import trainer_view as view
from lightning_diag.monitors.hyperparameters import hyperparameters
from lightning_diag.monitors.outlets import make_dir, sinks_of
from lightning_diag.monitors.steps import Steps
from lightning_diag.monitors.stopwatch import Stopwatch
from lightning_diag.observation import Observation
from lightning_diag.probes.base import Probe
from lightning_diag.sinks.base import RunInfo, Sink
from lightning_diag.sinks.record import RecordSink


@dataclass
class Options:
    """What a user can set for a run; the fields are :class:`~lightning_diag.Diagnostics`' arguments."""

    select: Sequence[str] = ("*",)
    ignore: Sequence[str] = ()
    budget: float = 0.01
    every_n_steps: int | Literal["auto"] = "auto"
    observe: Callable[[Any, Any, Any], Observation | None] | None = None
    run_dir: str | Path | None = None
    sinks: Sequence[Sink] | None = None
    on_finding: Callable[[Finding], None] | None = None
    stop_on: Severity | None = None
    strict: bool = False
    seed: int = 0


@dataclass
class Parts:
    """What a monitor brings to the pipeline: named probes and detectors."""

    probes: list[tuple[str, Probe]] = field(default_factory=list)
    detectors: list[Detector] = field(default_factory=list)


_count = itertools.count()


class Session:
    """One ``fit`` of one trainer, from ``on_fit_start`` to its end.

    Args:
        trainer: the trainer; only its present state is read, no reference to it is kept.
        module: the user's module.
        parts: probes and detectors of all monitors on the trainer; a probe type is used once.
        options: the user's settings.
        saved: a checkpoint's state to go on from.
    """

    def __init__(
        self,
        trainer: Any,
        module: nn.Module,
        parts: Parts,
        options: Options,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self.number = next(_count)  # the same on all ranks, before anything can fail
        self.lead: object = None
        self.options = options
        self.guard = Guard(options.strict)
        wanted = chosen(parts.detectors, options.select, options.ignore)
        self.judge = Judge(wanted, None if options.strict else self.guard.tell)
        scene = view.scene(trainer, module, options.observe)
        self.schedule = Schedule(options.every_n_steps, options.budget, scene.facts.world_size)
        self.run_dir: Path | None = None
        main = bool(getattr(trainer, "is_global_zero", True))
        resumed = self._resume(saved)
        given = options.sinks
        if main and (given is None or any(isinstance(sink, RecordSink) for sink in given)):
            self.run_dir = make_dir(trainer, options.run_dir, saved, self.guard)
        sinks = sinks_of(trainer, self.run_dir, self.guard) if main and given is None else list(given or ())
        self._sinks = sinks
        self._records = [sink for sink in sinks if isinstance(sink, RecordSink)]
        unique: dict[type[Probe], tuple[str, Probe]] = {}
        for owner, probe in sorted(parts.probes, key=lambda named: not named[1].configured):
            unique.setdefault(type(probe), (owner, probe))
        self.pipeline = Pipeline(
            list(unique.values()),
            self.judge,
            sinks if main else [],
            self.schedule,
            self.guard,
            lambda finding: self._on_finding(trainer, finding),
        )
        meta = {
            "versions": view.versions(),
            "detectors": {d.rule: d.parameters() for d in self.judge.detectors.values()},
            "model": type(module).__name__,
            "budget": options.budget,
            "hyperparameters": hyperparameters(module, scene.optimizers, self.guard),
        }
        name = self.run_dir.name if self.run_dir else "run"
        info = RunInfo(self.run_dir, name, meta, resumed, self.pipeline.samples.of)
        self._exchange = ranks.exchange(trainer, self.number, self.guard)
        self._stopwatch = Stopwatch(trainer, scene.clock, lambda: self.steps.due(), scene.facts.device)
        self.pipeline.start(scene, info, Transfer(self._exchange))
        if saved is not None and resumed is not None and "pipeline" in saved:
            self.pipeline.load_state_dict(saved["pipeline"])
        self._hooks: list[RemovableHandle] = [
            opt.register_step_post_hook(self._after(k)) for k, opt in enumerate(scene.optimizers)
        ]
        self._index = {id(opt): k for k, opt in enumerate(scene.optimizers)}
        self.steps = Steps(trainer, self.pipeline, self._exchange, scene.facts.device, resumed)

    # ------------------------------------------------------------------ hooks of the lead monitor; steps have their own

    def train_start(self, trainer: Any) -> None:
        """The loaders exist now."""
        self.steps.train_start()
        self.pipeline.know(view.plan(trainer))

    def before_update(self, optimizer: Optimizer) -> None:
        """Gradients are complete, unscaled and not yet clipped."""
        index = self._index.get(id(optimizer))
        if index is not None:
            self.steps.before_update(index)

    def validation_end(self, trainer: Any) -> None:
        """A validation pass is over; the user's metrics are known."""
        self.pipeline.validation_end(view.metrics(trainer), trainer.current_epoch)

    def finish(self, *, failed: bool = False) -> None:
        """The run is over, or broke. Safe to call twice."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._stopwatch.remove()
        for sink in self._sinks:
            sink.broke_off = failed
        for record in self._records:
            record.status = "failed" if failed else "finished"
        self.pipeline.finish(failed=failed)
        for record in self._records:
            with contextlib.suppress(Exception):  # one that failed, and said so: the disk may have room for the verdict
                record.close(self.judge.diagnosis)

    @property
    def settled(self) -> Judge:
        """The judge, once it has seen every step so far."""
        try:
            self.pipeline.settle()
        except Exception as error:
            self.guard.tell("lightning_diag", error)
        return self.judge

    def state_dict(self) -> dict[str, Any]:
        """Return plain data that goes into the user's checkpoint."""
        return {
            "pipeline": self.pipeline.state_dict(),  # first: it waits for what is on its way
            "judge": self.settled.state_dict(),
            "schedule": self.schedule.state_dict(),
            "run_dir": None if self.run_dir is None else str(self.run_dir),
            "step": self.pipeline.last_step,
        }

    # ------------------------------------------------------------------ inside

    def _after(self, index: int) -> Callable[..., None]:
        def after(*_: Any) -> None:
            if self.pipeline.sampling:
                self.steps.after_update(index)

        return after

    def _resume(self, saved: Mapping[str, Any] | None) -> int | None:
        if not saved:
            return None
        try:
            self.judge.load_state_dict(saved["judge"])
            self.schedule.load_state_dict(saved["schedule"])
            return int(saved["step"])
        except Exception as error:
            self.judge.reset()
            self.guard.tell("resuming diagnostics from the checkpoint", error)
            return None

    def _on_finding(self, trainer: Any, finding: Finding) -> None:
        limit = self.options.stop_on
        if limit is not None and finding.severity >= limit and finding.status != "resolved":
            if self._exchange is None:
                trainer.should_stop = True
            else:
                self._exchange.stop_at(ranks.ahead(self.schedule, self.steps.done))
        if self.options.on_finding is not None:
            self.options.on_finding(finding)
