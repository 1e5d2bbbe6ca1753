"""What of a tensor lies in this process, and how often it lies in others."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def shard_of(tensor: Tensor) -> Tensor:
    """Return the part of a distributed tensor (DTensor) that this process holds; any other tensor itself.

    An operation on the distributed tensor would wait for all processes.
    """
    to_local = getattr(tensor, "to_local", None)
    local: Tensor = tensor if to_local is None else to_local()
    return local


def is_distributed(tensor: Any) -> bool:
    """Whether a tensor is a DTensor."""
    return hasattr(tensor, "to_local")


def copies(tensor: Any, world_size: int) -> float | None:
    """Return how many processes hold the same elements of a tensor; None where its shards are no parts of it.

    A plain tensor lies in every process; a DTensor's elements repeat along mesh dimensions where it isn't sharded.
    """
    if not is_distributed(tensor):
        return float(world_size)
    mesh = tensor.device_mesh
    shards = 1
    for dim, placement in enumerate(tensor.placements):
        if placement.is_partial():
            return None
        if not placement.is_replicate():
            shards *= mesh.size(dim)
    return world_size / shards
