"""What the first layers do with the inputs, and what several probes make of a batch's."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_diag.probes import data_kernels as kernels
from lightning_diag.probes.base import Batch
from lightning_diag.probes.batch_fields import find_input


def normalizes_inputs(module: nn.Module) -> bool:
    """Whether a normalization or an embedding is among the first two layers that have parameters."""
    layers = [
        m
        for m in module.modules()
        if next(m.children(), None) is None and next(m.parameters(recurse=False), None) is not None
    ]
    return any("Norm" in type(m).__name__ or isinstance(m, nn.Embedding) for m in layers[:2])


def rows_of(batch: Batch) -> Tensor | None:
    """Return a batch's floating-point inputs as one row a sample, ``(B, F)`` float64, 0 where they aren't finite.

    Worked out once for all probes that ask; None for inputs of another kind.
    """
    if batch.rows is None:
        given = find_input(batch.batch)
        flat = None if given is None or given.is_sparse or given.is_nested else kernels.flat_features(given)
        batch.rows = None if flat is None else kernels.finite_doubles(flat)
    return batch.rows


def parts_of(batch: Batch, target: Tensor) -> Tensor | None:
    """Return what is added up of these rows, ``(3, B, F)``; None where there isn't one integer label a row."""
    rows = rows_of(batch)
    if rows is None or target.ndim != 1 or target.is_floating_point() or rows.shape[0] != target.shape[0]:
        return None
    if batch.parts is None:
        batch.parts = kernels.parts_of(rows)
    return batch.parts


def sums_of(batch: Batch, target: Tensor, classes: int, slots: Tensor | None = None) -> Tensor | None:
    """Return their sums by class, ``(3, K, F)``; None where there are none. Worked out once for all that ask."""
    parts = parts_of(batch, target)
    if parts is None:
        return None
    if batch.sums is None or batch.sums.shape[1] != classes:
        batch.sums = kernels.sums_at(parts, kernels.slots(target, classes) if slots is None else slots, classes)
    return batch.sums
