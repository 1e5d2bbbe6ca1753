"""One row of numbers a sample: what it is known by, and what the network made of it."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes import data_kernels as kernels
from lightning_diag.probes.base import Batch
from lightning_diag.probes.batch_fields import find_target
from lightning_diag.probes.data_keys import chunks, hashed_tensors, sample_keys

HALF = 2**24  # whole numbers below it are exact in float32


def train_rows(batch: Batch, seen: Observation | None, epoch: int) -> Tensor | None:
    """Return rows ``(B, 9)``; None where samples can't be told.

    Columns: key in three parts, label, margin, best other label, epoch, id in two parts (NaN: not known).
    """
    with torch.no_grad():
        parts = _parts(batch)
        if parts is None:
            return None
        unknown = torch.full_like(parts[:, 0], torch.nan)
        label, margin, other, ids = unknown, unknown, unknown, torch.stack([unknown, unknown], 1)
        target = find_target(batch.batch) if seen is None else seen.target
        if target is not None and target.shape == label.shape and not target.is_floating_point():
            label = target.detach().to(parts)
            if seen is not None and seen.predicted is not None and seen.logits is not None:
                margin, other = kernels.margins(seen.logits, target)
        if seen is not None and seen.sample_id is not None and seen.sample_id.shape == label.shape:
            given = seen.sample_id.long()
            ids = torch.stack([given % HALF, given.div(HALF, rounding_mode="floor")], 1).to(parts)
        rest = torch.stack([label, margin, other, torch.full_like(label, float(epoch))], 1)
        return torch.cat([parts, rest, ids], 1)


def val_rows(batch: Batch, first: int) -> Tensor | None:
    """Return rows ``(B, 5)``: key in three parts, loader, position from ``first`` on; None where they can't be told."""
    with torch.no_grad():
        parts = _parts(batch)
        if parts is None:
            return None
        place = float(batch.loader) if isinstance(batch.loader, int) else 0.0
        at = torch.arange(first, first + len(parts), device=parts.device, dtype=parts.dtype)
        return torch.cat([parts, torch.stack([torch.full_like(at, place), at], 1)], 1)


def _parts(batch: Batch) -> Tensor | None:
    tensors = hashed_tensors(batch.batch)
    batch.keys = chunks(sample_keys(tensors)) if tensors else None
    return batch.keys
