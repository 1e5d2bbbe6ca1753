"""What we ask a Lightning trainer. The only file that knows where Lightning keeps things."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_diag._transfer import rounded
from lightning_diag.monitors import ranks, rehearsal
from lightning_diag.observation import Observation
from lightning_diag.probes.base import Loader, Scene
from lightning_diag.reading import Facts


def scene(trainer: Any, module: nn.Module, observe: Callable[[Any, Any, Any], Observation | None] | None) -> Scene:
    """Return what probes need of this trainer and module."""
    automatic = bool(getattr(module, "automatic_optimization", True))
    optimizers = [_raw(opt) for opt in trainer.optimizers]
    world = int(getattr(trainer, "world_size", 1))
    facts = Facts(
        accumulate=accumulate(trainer),
        clip_val=_clip(trainer),
        clip_algorithm=None if not _clip(trainer) else str(_value(trainer.gradient_clip_algorithm) or "norm"),
        precision=str(getattr(trainer, "precision", "") or "") or None,
        optimizers=tuple(type(opt).__name__ for opt in optimizers),
        automatic_optimization=automatic,
        world_size=world,
        strategy=type(trainer.strategy).__name__,
        replicas=ranks.replicas(trainer, world) if world > 1 else (),
        device=_device(module).type,
    )
    return Scene(
        module,
        optimizers,
        facts,
        automatic,
        lambda opt: inverse_scale(trainer, opt),
        observe,
        None if scaler(trainer) is None else lambda: _scale(trainer),
        lambda: loaders(trainer),
        engine_norm=ranks.engine_norm(trainer),
        rehearse=lambda: rehearsal.stage(trainer, module, optimizers),
        rank=int(getattr(trainer, "global_rank", 0)),
        replicated=not getattr(trainer.strategy, "_model_averaging_period", None),
    )


def plan(trainer: Any) -> dict[str, Any]:
    """Return the facts about the plan. Only once training starts: earlier it would build the user's loaders."""
    return {
        "planned_steps": _planned(trainer),
        "steps_per_epoch": _steps_per_epoch(trainer),
        "batch_size": _batch_size(trainer),
        "loader": _loading(trainer),
        "names": _class_names(trainer),
        "monitored": monitored(trainer),
    }


def loaders(trainer: Any) -> tuple[tuple[Loader, ...], tuple[Loader, ...]]:
    """Return what the training and the validation loaders say of their samples, as far as they exist by now."""
    train, val = getattr(trainer, "train_dataloader", None), getattr(trainer, "val_dataloaders", None)
    borrowed = bool(getattr(trainer, "overfit_batches", 0))
    made = tuple(replace(_loader(n, x), borrowed=borrowed) for n, x in _named(val))
    return tuple(_loader(n, x) for n, x in _named(train)), made


def monitored(trainer: Any) -> dict[str, str]:
    """Return metric -> who follows it: checkpoints, early stopping, learning rate schedulers."""
    followers: dict[str, list[str]] = {}
    for callback in trainer.callbacks:
        metric = getattr(callback, "monitor", None)
        if isinstance(metric, str):
            followers.setdefault(metric, []).append(type(callback).__name__)
    for config in getattr(trainer, "lr_scheduler_configs", ()) or ():
        if isinstance(config.monitor, str) and config.reduce_on_plateau:
            followers.setdefault(config.monitor, []).append(type(config.scheduler).__name__)
    return {metric: " and ".join(dict.fromkeys(names)) for metric, names in followers.items()}


def steps_done(trainer: Any) -> int:
    """Return the optimizer steps taken before this fit: Lightning's own logging axis."""
    return int(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))


def counts(trainer: Any) -> tuple[Any, Any]:
    """Return what counts the steps of automatic optimization and the epochs, each as ``completed``.

    They are the trainer's ``global_step`` and ``current_epoch`` without its walk through seven properties.
    """
    loop = trainer.fit_loop
    return loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total, loop.epoch_progress.current


def accumulate(trainer: Any) -> int:
    """Return the number of micro-batches an optimizer step (automatic optimization)."""
    return int(getattr(trainer, "accumulate_grad_batches", 1) or 1)


def undivided(trainer: Any, module: nn.Module, loss: Tensor | float, scaler: Any) -> Tensor | float:
    """Undo what Lightning did to a loss before backward: the division by accumulation, the AMP loss scale."""
    value = loss.detach() if isinstance(loss, Tensor) else loss
    factor = trainer.accumulate_grad_batches  # a scheduler may change it during the run
    if factor != 1 and getattr(module, "automatic_optimization", True):
        value = value * factor if isinstance(value, Tensor) else rounded(value * factor)
    scale = None if scaler is None else getattr(scaler, "_scale", None)
    return value.float() / scale if isinstance(scale, Tensor) and isinstance(value, Tensor) else value


def scaler(trainer: Any) -> Any | None:
    """Return the AMP gradient scaler, where the precision has one."""
    return getattr(getattr(trainer, "precision_plugin", None), "scaler", None)


def inverse_scale(trainer: Any, optimizer: Optimizer) -> Tensor | None:
    """Return the factor that unscales gradients which a fused optimizer still sees scaled, else None."""
    scale = _scale(trainer)
    if scale is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
        return None
    return scale.float().reciprocal()


def loggers(trainer: Any) -> list[Any]:
    """Return the trainer's loggers that keep something."""
    return [lg for lg in trainer.loggers if type(lg).__name__ != "DummyLogger"]


def is_wandb(logger: Any) -> bool:
    """Whether a logger is W&B's, from whichever Lightning package."""
    return any(c.__name__ == "WandbLogger" for c in type(logger).__mro__)


def active_wandb_run() -> Any | None:
    """Return the process's live W&B run, without importing W&B."""
    return getattr(sys.modules.get("wandb"), "run", None)


def root_dir(trainer: Any) -> Path:
    """Return the folder under which runs are recorded."""
    return Path(str(trainer.default_root_dir)) / "lightning_diag_runs"


def versions() -> dict[str, str]:
    """Return versions of what matters for a record."""
    found = {"python": sys.version.split()[0], "torch": torch.__version__}
    for name in ("lightning", "pytorch_lightning", "wandb", "numpy"):
        package = sys.modules.get(name)
        version = getattr(package, "__version__", None)
        if isinstance(version, str):
            found[name] = version
    return found


def _raw(optimizer: Any) -> Optimizer:
    raw: Optimizer = getattr(optimizer, "_optimizer", None) or getattr(optimizer, "optimizer", None) or optimizer
    return raw


def _planned(trainer: Any) -> int | None:
    """Optimizer steps until the end; None when unknown or endless. Lightning raises or gives inf for some loaders."""
    try:
        steps = trainer.estimated_stepping_batches
    except Exception:
        return None
    each = len(trainer.optimizers) > 1 and trainer.max_steps > 0  # Lightning counts the steps of each
    return None if each or steps is None or not math.isfinite(steps) or steps <= 0 else int(steps)


def _steps_per_epoch(trainer: Any) -> int | None:
    batches = getattr(trainer, "num_training_batches", None)
    if batches is None or not math.isfinite(batches) or batches <= 0:
        return None
    steps: int = math.ceil(batches / accumulate(trainer))
    return steps


def _batch_size(trainer: Any) -> int | None:
    loader = getattr(trainer, "train_dataloader", None)
    size = getattr(loader, "batch_size", None) or getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    return size if isinstance(size, int) else None


def _loading(trainer: Any) -> dict[str, int]:
    """How the (first) training loader makes its batches; empty where it doesn't say."""
    loaders = [loader for _, loader in _named(getattr(trainer, "train_dataloader", None))]
    names = ("num_workers", "pin_memory", "persistent_workers")
    if not loaders or not all(isinstance(getattr(loaders[0], name, None), int) for name in names):
        return {}
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {**{name: int(getattr(loaders[0], name)) for name in names}, "cpus": cpus}


def _named(given: Any) -> list[tuple[str, Any]]:
    """Loaders with their names: a dict's keys, empty for one loader or a sequence; through a ``CombinedLoader``."""
    given = getattr(given, "iterables", given)
    if given is None:
        return []
    if isinstance(given, dict):
        return [(str(name), loader) for name, loader in given.items()]
    if isinstance(given, (list, tuple)):
        return [("", loader) for loader in given]
    return [("", given)]


def _loader(name: str, loader: Any) -> Loader:
    data = getattr(loader, "dataset", None)
    while getattr(data, "domain", None) is None and (inner := getattr(data, "dataset", None)) is not None:
        data = inner  # a Subset
    domain, names = getattr(data, "domain", None), getattr(data, "domain_names", None)
    listed = isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)
    drawn = bool(getattr(getattr(loader, "sampler", None), "replacement", False))
    size = getattr(loader, "batch_size", None)
    size = size if isinstance(size, int) else None
    said = domain if isinstance(domain, str) else ""
    return Loader(name, said, tuple(names or ()) if listed else (), drawn, batch_size=size)


def _class_names(trainer: Any) -> dict[str, tuple[str, ...]]:
    """Class names of the training set, where it has them (torchvision's ``classes``)."""
    data = getattr(getattr(trainer, "train_dataloader", None), "dataset", None)
    names = getattr(data, "classes", None) or getattr(getattr(data, "dataset", None), "classes", None)
    if isinstance(names, (list, tuple)) and len(names) > 1:
        return {"class": tuple(str(name) for name in names)}
    return {}


def _clip(trainer: Any) -> float | None:
    value = getattr(trainer, "gradient_clip_val", None)
    return float(value) if value else None


def _value(enum: Any) -> Any:
    return getattr(enum, "value", enum)


def _device(module: nn.Module) -> torch.device:
    device = getattr(module, "device", None)
    return device if isinstance(device, torch.device) else torch.device("cpu")


def _scale(trainer: Any) -> Tensor | None:
    """The AMP scaler's present scale as a tensor on its device (reading it as a number would wait for the device)."""
    scale = getattr(scaler(trainer), "_scale", None)
    return scale if isinstance(scale, Tensor) else None


def metrics(trainer: Any) -> dict[str, Tensor]:
    """Return what the user logged, as tensors."""
    return {k: v for k, v in trainer.callback_metrics.items() if isinstance(v, Tensor)}
