"""What is compared: our callback in several settings, and what people use instead, on the same work.

Composer's monitors are ports of their measuring code (mosaicml/composer, ``callbacks/optimizer_monitor.py`` and
``callbacks/activation_monitor.py``, Apache-2.0, as of April 2026) to Lightning's hooks; a dict keeps what they log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn


class GradNormRecipe(pl.Callback):
    """Lightning's documented recipe: ``grad_norm`` in ``on_before_optimizer_step``, logged at every step."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure as the variant does."""
        from lightning.pytorch.utilities import grad_norm

        pl_module.log_dict(grad_norm(pl_module, norm_type=2))


class HandWritten(pl.Callback):
    """The hook people copy from blogs: ``p.grad.norm().item()`` and weight norm a parameter, kept in a dict."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure as the variant does."""
        self.last = {
            n: (p.grad.norm().item(), p.detach().norm().item())
            for n, p in pl_module.named_parameters()
            if p.grad is not None
        }


class Floor(pl.Callback):
    """The least any gradient monitor can do: one fused norm and one number."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure as the variant does."""
        grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.last = torch.stack(torch._foreach_norm(grads)).norm().item()


class Watch(pl.Callback):
    """``wandb.watch`` on an offline run."""

    def __init__(self, what: str, freq: int, folder: str) -> None:
        self.what, self.freq, self.folder = what, freq, folder  # Lightning sets ``self.log`` itself

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Open an offline run and watch."""
        import wandb

        self.run = wandb.init(mode="offline", dir=self.folder, settings=wandb.Settings(silent=True))
        self.run.watch(pl_module, log=self.what, log_freq=self.freq)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Log a row, at which the run sends what it watched."""
        self.run.log({"step": trainer.global_step})

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the run."""
        self.run.unwatch(pl_module)
        self.run.finish()


class ComposerOptimizerMonitor(pl.Callback):
    """Composer's OptimizerMonitor without a reporting optimizer: a norm and a number a parameter every ``interval``."""

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure as the original does at the end of a batch."""
        if trainer.global_step % self.interval:
            return
        metrics: dict[str, Any] = {}
        norm: Any = 0.0
        for name, p in pl_module.named_parameters():
            if p.grad is not None and p.requires_grad:
                metrics[f"l2_norm/grad/{name}"] = torch.linalg.vector_norm(p.grad)
        for metric in list(metrics):
            norm += metrics[metric] ** 2
        metrics["l2_norm/grad/global"] = norm**0.5
        self.last = {k: v.item() if isinstance(v, Tensor) else v for k, v in metrics.items()}


class ComposerActivationMonitor(pl.Callback):
    """Composer's ActivationMonitor: four statistics of each module's input and output every ``interval`` batches.

    As in the original a plain tensor as output is walked along its batch axis.
    """

    def __init__(self, interval: int = 25) -> None:
        self.interval = interval
        self.handles: list[Any] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Hang the hooks on sampled batches."""
        if trainer.global_step % self.interval == 0:
            self.last: dict[str, float] = {}
            self.names = {m: n for n, m in pl_module.named_modules()}
            self.handles = [m.register_forward_hook(self._hook) for m in pl_module.modules()]

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Remove them after the forward pass."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _hook(self, module: nn.Module, given: Any, output: Any) -> None:
        for suffix, values in (("_input", given), ("_output", output)):
            for i, value in enumerate(values):
                self._add(f"{self.names[module]}{suffix}.{i}", value)

    def _add(self, name: str, value: Any) -> None:
        if isinstance(value, (tuple, list)):
            for i, inner in enumerate(value):
                self._add(f"{name}_{i}", inner)
        elif isinstance(value, Tensor) and value.is_floating_point() and value.ndim:
            value = value.detach()
            diffs = value - value.mean(-1, keepdim=True)
            kurtosis = (diffs.pow(4).mean(-1) / diffs.pow(2).mean(-1) ** 2).mean()
            self.last[f"l2_norm/{name}"] = torch.linalg.vector_norm(value, dim=-1).mean().item()
            self.last[f"average/{name}"] = value.mean().item()
            self.last[f"kurtosis/{name}"] = kurtosis.item()
            self.last[f"max/{name}"] = value.max(dim=-1).values.mean().item()


def variants(folder: str) -> dict[str, Callable[[], list[Any]]]:
    """Name -> callbacks of a variant."""
    from lightning_diag import Diagnostics

    def ours(**options: Any) -> Callable[[], list[Any]]:
        return lambda: [Diagnostics(run_dir=Path(folder) / f"run-{time.time_ns()}", strict=True, **options)]

    return {
        "bare": list,
        "Diagnostics()": ours(),
        "Diagnostics(every_n_steps=1)": ours(every_n_steps=1),
        "Diagnostics, never sampled": ours(every_n_steps=10**9),
        "Lightning grad_norm recipe": lambda: [GradNormRecipe()],
        "hand-written hook": lambda: [HandWritten()],
        "one _foreach_norm": lambda: [Floor()],
        "wandb.watch gradients, log_freq=1": lambda: [Watch("gradients", 1, folder)],
        "wandb.watch gradients, log_freq=100": lambda: [Watch("gradients", 100, folder)],
        "wandb.watch all, log_freq=1": lambda: [Watch("all", 1, folder)],
        "Composer OptimizerMonitor, interval 1": lambda: [ComposerOptimizerMonitor(1)],
        "Composer OptimizerMonitor, interval 10": lambda: [ComposerOptimizerMonitor(10)],
        "Composer ActivationMonitor, interval 1": lambda: [ComposerActivationMonitor(1)],
        "Composer ActivationMonitor, interval 25": lambda: [ComposerActivationMonitor(25)],
    }
