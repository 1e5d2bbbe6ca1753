"""Three tools that hook into a training, as Lightning callbacks written from their READMEs, at their defaults.

None of them ships a Lightning callback. What each says is mapped to names of alarms; the page of the results says how:

* torchmortem 0.1.1: ``Autopsy(model, optimizer)``, ``step(loss=)`` after each optimizer step, the report at the end.
  Alarm: a finding of severity WARNING or CRITICAL; as a second row CRITICAL alone.
* torch-audit 0.3.0: ``autopatch(model, optimizer, ...)``. Alarm: a finding WARN, ERROR or FATAL. It audits every 1000
  steps unless told otherwise; here every step, and the row of the default counts what steps 0, 1000, ... said. The
  third row leaves out rules on architecture, hardware and settings, which read no run.
* neuraldbg 1.3.2 (without its proprietary engine): ``with NeuralDbg(model)``, ``record_loss()`` each step. It knows no
  severities. Alarm: a failure in ``first_failure_step``; the same without two kinds that fire on every healthy run;
  and ``explain_failure()`` of any of the six failure types that its README names is not empty.

The tools are imported only when a training starts; they live in an environment of their own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl

TORCHMORTEM, CRITICAL = "torchmortem", "torchmortem, critical only"
NEURALDBG, CHOSEN, EXPLAINED = (
    "neuraldbg, first failures", "neuraldbg, without saturation and shift", "neuraldbg, explain_failure"
)  # fmt: skip
AUDIT, AUDIT_EVERY, AUDIT_RUNTIME = (
    "torch-audit, every 1000 steps", "torch-audit, every step", "torch-audit, every step, runtime rules"
)  # fmt: skip
ROWS_OF = {
    "torchmortem": (TORCHMORTEM, CRITICAL),
    "torch-audit": (AUDIT, AUDIT_EVERY, AUDIT_RUNTIME),
    "neuraldbg": (NEURALDBG, CHOSEN, EXPLAINED),
}
AUDIT_DEFAULT_STEPS = 1000
RUNTIME_RULES = ("TA1", "TA3", "TA5")  # stability, data, execution; the others read code and settings, not the run
LEFT_OUT = ("activation_saturated", "data_distribution_shift")  # both fired on the two healthy dev runs tried first
FAILURE_TYPES = (
    "vanishing_gradients", "exploding_gradients", "dead_neurons", "saturated_activations", "optimizer_instability",
    "data_anomaly",
)  # fmt: skip

Names = dict[str, list[str]]  # row -> names of its alarms


def mortem_names(findings: Iterable[Any]) -> Names:
    """Alarms of a torchmortem report, by detector: warnings or worse; critical ones."""
    loud = [f for f in findings if f.severity.name in ("WARNING", "CRITICAL")]
    critical = {f.detector for f in loud if f.severity.name == "CRITICAL"}
    return {TORCHMORTEM: sorted({f.detector for f in loud}), CRITICAL: sorted(critical)}


def audit_names(findings: Iterable[Any]) -> Names:
    """Alarms of torch-audit's findings at every step: all, those of the default interval, those of runtime rules."""
    loud = [f for f in findings if f.severity.value != "INFO"]
    return {
        AUDIT: sorted({f.rule_id for f in loud if f.step is None or f.step % AUDIT_DEFAULT_STEPS == 0}),
        AUDIT_EVERY: sorted({f.rule_id for f in loud}),
        AUDIT_RUNTIME: sorted({f.rule_id for f in loud if f.rule_id.startswith(RUNTIME_RULES)}),
    }


def dbg_names(dbg: Any) -> Names:
    """Alarms of a NeuralDbg: failures it keeps the first step of, and what it explains."""
    explained = (kind for kind in FAILURE_TYPES if dbg.explain_failure(kind))
    failures = sorted(dbg.first_failure_step)
    chosen = [name for name in failures if name not in LEFT_OUT]
    return {NEURALDBG: failures, CHOSEN: chosen, EXPLAINED: sorted(explained)}


def merged(parts: Iterable[Names]) -> Names:
    """The alarms of several trainers of one run (a resume): each name once."""
    found: dict[str, set[str]] = {}
    for part in parts:
        for row, names in part.items():
            found.setdefault(row, set()).update(names)
    return {row: sorted(names) for row, names in found.items()}


def _loss(trainer: pl.Trainer, outputs: Any) -> float:
    """The loss of the batch; of a GAN, whose step returns none, the generator's."""
    value = outputs["loss"] if outputs else trainer.callback_metrics["g_loss"]
    return float(value)


class Tool(pl.Callback):
    """A tool around a training; ``names`` holds its alarms when the training ended, however it did."""

    def __init__(self) -> None:
        self.names: Names = {}

    def finish(self) -> None:
        """Ask the tool."""
        raise NotImplementedError

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask the tool."""
        self.finish()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Ask it of what it saw until then."""
        self.finish()


class Torchmortem(Tool):
    """``Autopsy`` with the preset "balanced", its default."""

    tool: Any = None
    seen = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As in the README."""
        self.tool = importlib.import_module("torchmortem").Autopsy(pl_module, optimizer=trainer.optimizers[0])
        self.tool.attach()
        self.seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step each optimizer step: accumulated batches in between change no weight."""
        if trainer.global_step != self.seen:
            self.seen = trainer.global_step
            self.tool.step(loss=_loss(trainer, outputs))

    def finish(self) -> None:
        """The analysis runs when it is detached."""
        if self.tool is not None:
            self.tool.detach()
            self.names = mortem_names(self.tool.get_report().findings)


class TorchAudit(Tool):
    """``autopatch``, the zero-touch mode of the README; ``every`` steps."""

    tool: Any = None

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.every = every

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As in the README, without printing."""
        self.tool = importlib.import_module("torch_audit").autopatch(
            pl_module, optimizer=trainer.optimizers[0], every_n_steps=self.every, run_static=True, run_init=True
        )

    def finish(self) -> None:
        """Take the patches off, too."""
        if self.tool is not None:
            self.names = audit_names(self.tool.finish().findings)
            self.tool.unpatch()


class Neuraldbg(Tool):
    """``NeuralDbg``; not asked during validation, which a README's loop hasn't got."""

    tool: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As in the README."""
        self.tool = importlib.import_module("neuraldbg").NeuralDbg(pl_module)
        self.tool.__enter__()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Tell the step."""
        self.tool.step = trainer.fit_loop.total_batch_idx

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the loss."""
        self.tool.record_loss(_loss(trainer, outputs))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look away."""
        if self.tool is not None:
            self.tool.is_monitoring = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look again."""
        if self.tool is not None:
            self.tool.is_monitoring = True

    def finish(self) -> None:
        """Ask while its events are there."""
        if self.tool is not None:
            self.tool.__exit__(None, None, None)
            self.names = dbg_names(self.tool)


TOOLS: dict[str, Callable[[], Tool]] = {"torchmortem": Torchmortem, "torch-audit": TorchAudit, "neuraldbg": Neuraldbg}
# torchmortem's and neuraldbg's backward hooks can't stand on one module (torch refuses); torch-audit disturbs neither
TOGETHER: tuple[tuple[str, ...], ...] = (("torchmortem",), ("torch-audit", "neuraldbg"))
