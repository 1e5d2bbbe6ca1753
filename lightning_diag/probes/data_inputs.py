"""Which tensors of a batch make up its samples, and what the first layers do with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lightning_diag.probes.observer import OPTIONAL, find_input, find_target

_IDS = frozenset(name for names in OPTIONAL.values() for name in names)


def sample_tensors(batch: Any) -> list[Tensor]:
    """Return the tensors that hold the samples' content, dimension 0 counting samples; empty where that isn't clear.

    The target and ids of samples are left out. Sparse, nested and sharded tensors, and batches whose tensors disagree
    on the number of samples (graphs, ragged text), have no content that can be told sample by sample.
    """
    target, first = find_target(batch), find_input(batch)
    if first is None or first.ndim == 0:
        return []
    found = [t for t in _tensors(batch) if t is not target]
    plain = all(t.ndim and not t.is_sparse and not t.is_nested and not hasattr(t, "to_local") for t in found)
    return found if plain and len({t.shape[0] for t in found}) == 1 else []


def _tensors(data: Any) -> Iterator[Tensor]:
    if isinstance(data, Tensor):
        yield data
    elif isinstance(data, Mapping):
        for name, value in data.items():
            if name not in _IDS:
                yield from _tensors(value)
    elif isinstance(data, (tuple, list)):
        for value in data:
            yield from _tensors(value)


def normalizes_inputs(module: nn.Module) -> bool:
    """Whether a normalization or an embedding is among the first two layers that have parameters."""
    layers = [
        m
        for m in module.modules()
        if next(m.children(), None) is None and next(m.parameters(recurse=False), None) is not None
    ]
    return any("Norm" in type(m).__name__ or isinstance(m, nn.Embedding) for m in layers[:2])
