"""A fixed strided sample of a tensor's elements: cheap statistics whose cost doesn't grow with the model."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor

ELEMENTS = 1024  # relative standard error of a root mean square of Gaussian values: sqrt(1 / (2 n)) = 2.2 %


def strided_view(tensor: Tensor, elements: int = ELEMENTS) -> Tensor:
    """Return a view of at most ``elements`` elements, evenly strided through the tensor's memory, shape ``(n,)``.

    The stride shares no factor with the last dimension, so the sample walks through all columns instead of down one.
    A tensor whose memory isn't dense (an expanded one, say) is sampled along its first elements of ``flatten()``, a
    copy.
    """
    flat = tensor.detach()
    if flat.is_contiguous():
        flat = flat.view(-1)
    elif _dense(flat):
        flat = flat.as_strided((flat.numel(),), (1,), flat.storage_offset())
    else:
        flat = flat.flatten()
    n = flat.numel()
    if n <= elements:
        return flat
    stride = -(-n // elements)
    while gcd(stride, tensor.shape[-1]) != 1:
        stride += 1
    return flat[::stride]


def split_norms(flat: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the L2 norm of each consecutive piece of ``flat`` ``(sum(sizes),)``, shape ``(len(sizes),)``, float32."""
    pieces = list(flat.split(list(sizes)))
    foreach = getattr(torch, "_foreach_norm", None)
    if foreach is None:
        return torch.stack([torch.linalg.vector_norm(p) for p in pieces])
    return torch.stack(foreach(pieces, 2))


def _dense(tensor: Tensor) -> bool:
    """Whether the tensor fills its memory without holes or overlaps (a channels-last weight does)."""
    order = sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1)
    expected = 1
    for stride, size in order:
        if stride != expected:
            return False
        expected *= size
    return True
