"""A 63-bit key of each sample's raw content, in a handful of kernels: no sync, no copy, exact integer arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_diag._transfer import wait_for_all
from lightning_diag.probes.batch_fields import NO_INPUT, as_mapping
from lightning_diag.probes.constants import made_once

COLUMNS = 1021  # a prime: rows of an image that move by whole lines don't fall into the same columns
BITS = 21  # of a key in one float32 of a packet, three of them a key
MASK = 2**BITS - 1
SEED = 20_200_401
_weights: dict[torch.device, Tensor] = {}


def sample_keys(tensors: Sequence[Tensor]) -> Tensor:
    """Return keys ``(B,)`` int64 of B samples given as one or more tensors ``(B, *D)``.

    Every byte counts: the bits of a sample are read as 64-bit words, summed over ``COLUMNS`` columns, folded, and
    weighed with fixed odd random numbers (multiply-shift hashing, Dietzfelbinger et al., J. Algorithms 25, 1997). Two
    different samples get the same key with probability below 2^-45: a difference whose lowest set bit is bit ``v``
    after folding counts for ``63 - v`` bits, and numbers of few digits leave up to 17 empty. What is missed is a sample
    whose words moved by a multiple of 1021 places.
    """
    keys = _keys(tensors[0], 0)
    for number, tensor in enumerate(tensors[1:], start=1):
        keys = keys * 3 + _keys(tensor, number)
    return keys


def keys_on_host(tensors: Sequence[Tensor]) -> list[int]:
    """Return the keys of samples as numbers, once, for a person who looks for one of them."""
    keys = wait_for_all({"keys": sample_keys(tensors)})["keys"]
    return [int(key) & (2**63 - 1) for key in keys]


def chunks(keys: Tensor) -> Tensor:
    """Return keys ``(N,)`` as ``(N, 3)`` float32 of 21 bits each, which a packet carries without loss."""
    parts: Tensor = (keys[:, None] >> _shifts_on(keys.device)) & MASK
    return parts.float()


def hashed_tensors(batch: Any) -> list[Tensor]:
    """Return the tensors of a batch that make up its inputs, empty where there are none that can be hashed.

    A dict's tensors but targets, ids and domains; of a sequence its first element (all tensors in it) and later
    floating-point tensors of two or more dimensions, the second only where it looks like the first.
    """
    parts = as_mapping(batch)
    if parts is not None:
        found = [t for name, t in parts.items() if isinstance(t, Tensor) and str(name).lower() not in NO_INPUT]
    elif isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch):
        found = _all(batch[0])
        later = batch[1:] if len(batch) > 2 and _alike(batch[0], batch[1]) else batch[2:]
        found += [t for t in later if isinstance(t, Tensor) and t.is_floating_point() and t.ndim > 1]
    else:
        found = _all(batch)
    if not found or found[0].ndim == 0:
        return []
    rows = found[0].shape[0]
    plain = [t for t in found if t.ndim and t.shape[0] == rows and t.layout == torch.strided and not t.is_nested]
    return [t.detach() for t in plain if t.numel()] if len(plain) == len(found) else []


def _alike(first: Any, second: Any) -> bool:
    """Whether the second element of a batch is an input like the first: a pair of views, anchor and positive."""
    both = isinstance(first, Tensor) and isinstance(second, Tensor)
    return both and first.shape == second.shape and first.dtype == second.dtype and first.ndim > 1


def _all(data: Any, depth: int = 3) -> list[Tensor]:
    if isinstance(data, Tensor):
        return [data]
    if isinstance(data, Mapping):
        return _all(list(data.values()), depth)
    if isinstance(data, Sequence) and not isinstance(data, str) and depth:
        return [t for item in data for t in _all(item, depth - 1)]
    return []


def _keys(tensor: Tensor, number: int) -> Tensor:
    words = _words(tensor.reshape(len(tensor), -1))
    n = words.shape[1]
    if n > COLUMNS:
        whole = n // COLUMNS * COLUMNS
        columns = words[:, :whole].unflatten(1, (-1, COLUMNS)).sum(1, dtype=torch.int64)
        words = torch.cat([columns, words[:, whole:].to(torch.int64)], 1)
    folded = words ^ (words >> 31)  # numbers with few digits leave their low bits empty, and what is empty stays so
    folded = folded ^ (folded >> 15)  # in the product below
    weights = _weights_on(tensor.device)[number % 4 :][: folded.shape[1]]
    return (folded * weights).sum(1)


def _words(rows: Tensor) -> Tensor:
    """The bits of rows ``(B, n)`` as integers, 8 bytes each where they fit."""
    if rows.is_complex():
        rows = torch.view_as_real(rows).flatten(1)
    size = rows.element_size()
    per = 8 // size
    if rows.shape[1] % per == 0 and rows.is_contiguous() and (rows.storage_offset() * size) % 8 == 0:
        return rows.view(torch.int64)
    plain = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    return rows.contiguous().view(plain).to(torch.int64)


@made_once
def _shifts_on(device: torch.device) -> Tensor:
    return torch.arange(0, 3 * BITS, BITS, device=device)


def _weights_on(device: torch.device) -> Tensor:
    weights = _weights.get(device)
    if weights is None:
        own = torch.Generator().manual_seed(SEED)  # never the user's stream
        made = torch.randint(-(2**62), 2**62, (2 * COLUMNS + 4,), generator=own) * 2 + 1
        weights = _weights[device] = made.to(device)
    return weights
