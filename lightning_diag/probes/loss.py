"""The loss of every optimizer step, and of every validation pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_diag._transfer import rounded
from lightning_diag.probes.base import Batch, Probe, Scene, Values


class LossProbe(Probe):
    """Mean loss of a step's micro-batches, and the mean validation loss.

    The validation loss is the one the user returns or logs: the mean of what ``validation_step`` returned (a scalar
    tensor, or a dict with ``loss`` or ``val_loss``), else the one logged metric whose name says validation loss.
    """

    signals = ("loss/train", "loss/val")
    every_step = True

    def attach(self, scene: Scene) -> dict[str, str]:
        self._losses: list[Tensor] = []
        self._numbers: list[float] = []
        self._val: list[Tensor] = []
        return {}

    def loss(self, batch: Batch) -> None:
        if batch.number is not None:
            self._numbers.append(batch.number)
        elif batch.loss is not None:
            self._losses.append(batch.loss)

    def collect(self) -> Values:
        if self._numbers:
            numbers, self._numbers = self._numbers, []
            return [("loss/train", numbers[0] if len(numbers) == 1 else rounded(sum(numbers) / len(numbers)))]
        losses, self._losses = self._losses, []
        if not losses:
            return []
        if len(losses) == 1:
            loss = losses[0]
            return [("loss/train", loss if loss.ndim == 0 else loss.reshape(()))]
        return [("loss/train", torch.stack([loss.reshape(()).float() for loss in losses]).mean())]

    def validation_start(self) -> None:
        self._val = []

    def validation_batch(self, batch: Batch) -> None:
        loss = _scalar_loss(batch.outputs)
        if loss is not None:
            self._val.append(loss)

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        returned, self._val = self._val, []
        logged = _logged_loss(metrics)
        if logged is not None:
            return [("loss/val", logged)]
        if returned:
            return [("loss/val", torch.stack(returned).mean())]
        return []


def _scalar_loss(outputs: Any) -> Tensor | None:
    if isinstance(outputs, Mapping):
        outputs = next((outputs[k] for k in ("val_loss", "loss") if k in outputs), None)
    if isinstance(outputs, Tensor) and outputs.numel() == 1 and outputs.is_floating_point():
        return outputs.detach().float().reshape(())
    return None


def _logged_loss(metrics: Mapping[str, Tensor]) -> Tensor | None:
    """The one metric whose name says validation loss; the shortest name where several do, None where none does."""
    names = sorted((k for k in metrics if _says_val_loss(k)), key=lambda k: (len(k), k))
    if not names:
        return None
    value = torch.as_tensor(metrics[names[0]]).detach().float()
    return value.reshape(()) if value.numel() == 1 else None


def _says_val_loss(name: str) -> bool:
    low = name.lower().split("/dataloader_idx_")[0]
    return "val" in low and low.removesuffix("_epoch").endswith(("loss", "nll"))
