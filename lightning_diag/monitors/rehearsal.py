"""The user's training step on a copy of his module, for ``sanity="full"``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any

from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_diag.errors import NotMeasurable
from lightning_diag.probes.isolated import isolated
from lightning_diag.probes.stage import Stage


class Understudy:
    """Answers for the trainer on a copy: reads pass through, loggers take everything and keep nothing."""

    def __init__(self, trainer: Any) -> None:
        self._stood_in_for = trainer
        self.logger = DummyLogger()
        self.loggers = [self.logger]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stood_in_for, name)


def stage(trainer: Any, module: nn.Module, optimizers: Sequence[Optimizer]) -> Stage:
    """Return a fresh copy of the module on which its training step can be run.

    The copy has no hooks, logs nothing, and its trainer is an :class:`Understudy`.

    Raises:
        NotMeasurable: the step can't be run on the side, and why.
    """
    precision = str(getattr(trainer, "precision", "") or "")
    if not getattr(module, "automatic_optimization", True):
        raise NotMeasurable("with manual optimization the training step takes the optimizer's steps itself")
    if precision.startswith("16-"):
        raise NotMeasurable(f"precision {precision} trains with a gradient scaler, which a copy hasn't got")
    if len(optimizers) != 1:
        raise NotMeasurable("there is not one optimizer")
    takes = list(inspect.signature(module.training_step).parameters)  # type: ignore[arg-type]
    if "dataloader_iter" in takes:
        raise NotMeasurable("the training step takes its batches from the loader itself")
    made: Any = isolated(module, sys.maxsize)
    for original, copied in zip(module.modules(), made.modules(), strict=True):
        copied.training = original.training
    made._trainer = Understudy(trainer)
    made.log = made.log_dict = _nothing
    precision_plugin = trainer.precision_plugin

    def loss(batch: Any) -> Tensor:
        with precision_plugin.train_step_context():
            out = made.training_step(batch, 0) if len(takes) > 1 else made.training_step(batch)
        found = out.get("loss") if isinstance(out, dict) else out
        if not isinstance(found, Tensor) or found.ndim:
            raise NotMeasurable("the training step returns no loss")
        return found

    theirs = dict(module.named_parameters())
    ours = {id(theirs[name]): p for name, p in made.named_parameters()}
    held = [p for g in optimizers[0].param_groups for p in g["params"] if id(p) in ours]
    trained = [ours[id(p)] for p in held if p.requires_grad]
    if not trained:
        raise NotMeasurable("no optimizer holds a trainable parameter")
    return Stage(made, loss, trained, lambda: _like(optimizers[0], ours))


def _like(optimizer: Optimizer, ours: dict[int, nn.Parameter]) -> Optimizer:
    """An optimizer of the same make over the copy's parameters, at the rates from which a schedule starts."""
    takes = inspect.signature(type(optimizer)).parameters
    groups = []
    for group in optimizer.param_groups:
        own = {name: value for name, value in group.items() if name in takes and name != "params"}
        if "lr" in own:
            own["lr"] = group.get("initial_lr", own["lr"])
        groups.append({**own, "params": [ours[id(p)] for p in group["params"] if id(p) in ours]})
    defaults = {name: value for name, value in optimizer.defaults.items() if name in takes}
    try:
        made: Optimizer = type(optimizer)([g for g in groups if g["params"]], **defaults)
    except Exception as error:
        raise NotMeasurable(f"a second {type(optimizer).__name__} can't be made: {error}") from None
    return made


def _nothing(*_: Any, **__: Any) -> None:
    """Logs nothing."""
