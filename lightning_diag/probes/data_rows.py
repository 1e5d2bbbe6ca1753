"""One row of numbers a sample: what it is known by, and what the network made of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes import data_kernels as kernels
from lightning_diag.probes.base import Batch
from lightning_diag.probes.batch_fields import find_target
from lightning_diag.probes.constants import constant
from lightning_diag.probes.data_keys import chunks, hashed_tensors, sample_keys

HALF = 2**24  # whole numbers below it are exact in float32


class Samples(NamedTuple):
    """What rows are made of, B samples.

    Attributes:
        inputs: tensors ``(B, ...)``.
        target: integer labels ``(B,)``; None unknown.
        logits: scores of the classes ``(B, K)``; None unknown.
        ids: the user's own, ``(B,)``; None unknown.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    logits: Tensor | None
    ids: Tensor | None


def samples_of(batch: Batch, seen: Observation | None) -> Samples | None:
    """Return what is known of a training batch; None where samples can't be told."""
    inputs = tuple(hashed_tensors(batch.batch))
    if not inputs:
        return None
    target = find_target(batch.batch) if seen is None else seen.target
    if target is not None and (target.shape != inputs[0].shape[:1] or target.is_floating_point()):
        target = None
    known = target is not None and seen is not None and seen.predicted is not None
    ids = None if seen is None else seen.sample_id
    return Samples(
        inputs,
        None if target is None else target.detach(),
        seen.logits.detach() if known and seen is not None and seen.logits is not None else None,
        ids.long() if ids is not None and ids.shape == inputs[0].shape[:1] else None,
    )


def train_rows(samples: Samples, epoch: int) -> Tensor:
    """Return rows ``(B, 9)``.

    Columns: key in three parts, label, margin, best other label, epoch, id in two parts (NaN: not known).
    """
    with torch.no_grad():
        parts = chunks(sample_keys(samples.inputs))
        count, device = len(parts), parts.device
        label = margin = other = low = high = constant(torch.nan, device).expand(count)
        if samples.target is not None:
            label = samples.target.float()
            if samples.logits is not None:
                margin, other = kernels.margins(samples.logits, samples.target)
        if samples.ids is not None:
            low, high = (samples.ids % HALF).float(), samples.ids.div(HALF, rounding_mode="floor").float()
        now = constant(float(epoch), device).expand(count)
        return torch.cat([parts, torch.stack([label, margin, other, now, low, high], 1)], 1)


def val_rows(batch: Batch, first: int) -> Tensor | None:
    """Return rows ``(B, 5)``: key in three parts, loader, position from ``first`` on; None where they can't be told."""
    with torch.no_grad():
        tensors = hashed_tensors(batch.batch)
        if not tensors:
            return None
        parts = batch.keys = chunks(sample_keys(tensors))
        place = float(batch.loader) if isinstance(batch.loader, int) else 0.0
        at = torch.arange(first, first + len(parts), device=parts.device, dtype=parts.dtype)
        return torch.cat([parts, torch.stack([torch.full_like(at, place), at], 1)], 1)
