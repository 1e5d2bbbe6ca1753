"""How much two outputs of a module differ, sample by sample. Pure kernels, nothing is read on the host."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_diag.probes.sanity_calls import tensors_in


def input_effect(one: Any, other: Any) -> Tensor:
    """Return the largest change between two outputs over the root mean square of the first, a scalar.

    The largest over all floating-point tensors in them; NaN where there is none, or one is not finite.

    >>> float(input_effect(torch.ones(4, 2), torch.ones(4, 2))), float(input_effect(torch.ones(4), torch.zeros(4)))
    (0.0, 1.0)
    """
    changes = [_largest(a - b) / _scale(a) for a, b in _pairs(one, other)]
    return torch.stack(changes).amax() if changes else _nan(one)


def mixing(one: Any, other: Any, rows: int) -> Tensor:
    """Return how much the outputs of samples 1 to ``rows - 1`` changed, over the change of sample 0's, a scalar.

    The largest over all floating-point tensors that hold one entry a sample. NaN where there is none, or where sample
    0 itself did not change.

    >>> before, after = torch.zeros(3, 2), torch.tensor([[1.0, 1.0], [0.0, 0.5], [0.0, 0.0]])
    >>> float(mixing(before, after, 3))
    0.5
    """
    ratios = [
        _largest((a - b)[1:]) / torch.where(_largest((a - b)[0]) > 1e-6 * _scale(a), _largest((a - b)[0]), torch.nan)
        for a, b in _pairs(one, other)
        if a.ndim and a.shape[0] == rows
    ]
    if not ratios:
        return _nan(one)
    found = torch.stack(ratios)
    known = found.isfinite()
    return torch.where(known.any(), torch.where(known, found, -torch.inf).amax(), torch.nan)


def follows_batch(many: Any, few: Any) -> bool:
    """Whether the shape of one sample's output depends on how many samples there are: a table of pairs of samples.

    >>> follows_batch(torch.zeros(4, 4), torch.zeros(3, 3)), follows_batch(torch.zeros(4, 10), torch.zeros(3, 10))
    (True, False)
    """
    shapes = ([tuple(t.shape[1:]) for t in tensors_in(data) if t.is_floating_point()] for data in (many, few))
    return next(shapes) != next(shapes)


def _pairs(one: Any, other: Any) -> list[tuple[Tensor, Tensor]]:
    """Floating-point tensors of two outputs of the same make, side by side, in float32 at least."""
    ours, theirs = ([t for t in tensors_in(data) if t.is_floating_point() and t.numel()] for data in (one, other))
    if [t.shape for t in ours] != [t.shape for t in theirs]:
        return []
    return [(a.to(_wide(a)), b.to(_wide(b))) for a, b in zip(ours, theirs, strict=True)]


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _largest(difference: Tensor) -> Tensor:
    return difference.abs().amax().float() if difference.numel() else difference.new_zeros((), dtype=torch.float32)


def _scale(tensor: Tensor) -> Tensor:
    """Root mean square, so that zero outputs stay zero over something."""
    return tensor.square().mean().sqrt().float().clamp_min(torch.finfo(torch.float32).tiny)


def _nan(like: Any) -> Tensor:
    device = next((t.device for t in tensors_in(like)), torch.device("cpu"))
    return torch.full((), torch.nan, device=device)
