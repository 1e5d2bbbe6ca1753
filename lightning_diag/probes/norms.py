"""Norms of many tensors at once. Pure kernels: tensors in, tensors out, no sync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor


def l2_norms(tensors: Sequence[Tensor | None], device: torch.device) -> Tensor:
    """Return the L2 norm of each tensor, shape ``(len(tensors),)``, float32, accumulated in float32 or wider.

    None and empty tensors give 0; NaN and inf propagate; a norm beyond 3.4e38 or an element beyond about 1.8e19 gives
    inf. Sparse gradients are measured on their coalesced values. One fused multi-tensor pass
    (``torch._foreach_norm``), with a plain loop where that private function is missing.
    """
    with torch.no_grad():
        if _plain(tensors):
            stacked: Tensor = torch.stack(list(_norms(cast(list[Tensor], tensors))))
            return stacked.to(device)
        zero = torch.zeros((), dtype=torch.float32, device=device)
        there = [_dense(t) for t in tensors if t is not None and t.numel()]
        norms = iter(_norms(there) if there else ())
        found = [next(norms) if t is not None and t.numel() else zero for t in tensors]
        if not found:
            return zero.new_empty(0)
        return torch.stack([n.to(device=device, dtype=torch.float32) for n in found])


def _plain(tensors: Sequence[Tensor | None]) -> bool:
    """Whether all are what gradients nearly always are: there, not empty, dense float32 on one device."""
    device = None
    for t in tensors:  # a generator takes twice as long, and this is done for every parameter
        if t is None or t.dtype is not torch.float32 or t.layout is not torch.strided or not t.numel():
            return False
        if device is None:
            device = t.get_device()
        elif device != t.get_device():
            return False
    return device is not None


def total_norm(norms: Tensor) -> Tensor:
    """Return the global L2 norm, a scalar, from per-tensor norms ``(P,)``; in float64, so that squares don't overflow.

    Where a device has no float64, they are scaled by the largest instead.
    """
    if norms.device.type != "mps":
        whole: Tensor = torch.linalg.vector_norm(norms, dtype=torch.float64).to(norms.dtype)
        return whole
    largest = norms.max() if norms.numel() else norms.new_zeros(())
    safe = torch.where((largest > 0) & torch.isfinite(largest), largest, torch.ones_like(largest))
    scaled: Tensor = torch.linalg.vector_norm(norms / safe)
    return scaled * safe


def _norms(dense: list[Tensor]) -> Sequence[Tensor]:
    foreach = getattr(torch, "_foreach_norm", None)
    if foreach is None:
        return [torch.linalg.vector_norm(t, dtype=_wide(t)) for t in dense]
    if any(t.dtype != dense[0].dtype for t in dense):
        return [norm for t in dense for norm in foreach([t], 2, dtype=_wide(t))]
    wide = _wide(dense[0])
    result: Sequence[Tensor] = foreach(dense, 2) if dense[0].dtype is wide else foreach(dense, 2, dtype=wide)
    return result


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _dense(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.coalesce().values() if tensor.is_sparse else tensor
