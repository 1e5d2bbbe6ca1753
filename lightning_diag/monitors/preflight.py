"""What ``lightning-diag preflight`` puts on a program's first trainer: a look at the first steps, and the end of it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers.logger import DummyLogger

from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.diagnostics import Diagnostics
from lightning_diag.monitors.outlets import ReportSink
from lightning_diag.sinks.record import RecordSink


class Preflight(Diagnostics):
    """Watches the first steps of a fit with ``sanity="full"``, then ends the program.

    The trainer's loggers, its checkpoints and other monitors are left out, so that a trial leaves nothing behind but
    its record.

    Args:
        folder: where the record goes.
        steps: optimizer steps after which the program ends.

    Example:
        >>> Preflight("/tmp/record", 12).steps
        12
    """

    def __init__(self, folder: str, steps: int) -> None:
        super().__init__(sanity="full", every_n_steps=1, run_dir=folder, sinks=[RecordSink(), ReportSink()])
        self.steps = steps

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave out what would save."""
        trainer.callbacks = [c for c in trainer.callbacks if c is self or not _leaves_traces(c)]

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Judge the step; after the last of them close the record and leave."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step >= self.steps:
            self._close(trainer, failed=False)
            raise SystemExit(0)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """A fit that is shorter: what the program does next is not looked at either."""
        super().on_fit_end(trainer, pl_module)
        raise SystemExit(0)


def prepared(folder: str, steps: int) -> Preflight:
    """Return the callback for a trainer of a program whose trainers log nothing from now on.

    No hook is early enough: a fit opens its loggers before the first.
    """
    for name in ("lightning.pytorch", "pytorch_lightning"):
        trainer: Any = getattr(sys.modules.get(name), "Trainer", None)
        if trainer is not None and not hasattr(trainer.fit, "logs_nothing"):
            trainer.fit = _logging_nothing(trainer.fit)
    return Preflight(folder, steps)


def _logging_nothing(fit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fit)
    def wrapped(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        trainer.loggers = [DummyLogger()]
        return fit(trainer, *args, **kwargs)

    wrapped.logs_nothing = True  # type: ignore[attr-defined]
    return wrapped


def _leaves_traces(callback: Any) -> bool:
    """Whether a callback is a monitor of the program's own, or saves checkpoints (of either package)."""
    return isinstance(callback, Monitor) or any(c.__name__ == "Checkpoint" for c in type(callback).__mro__)
