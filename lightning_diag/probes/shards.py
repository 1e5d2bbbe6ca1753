"""What of a tensor lies in this process."""

from __future__ import annotations

from torch import Tensor


def shard_of(tensor: Tensor) -> Tensor:
    """Return the part of a distributed tensor (DTensor) that this process holds; any other tensor itself.

    An operation on the distributed tensor would wait for all processes.
    """
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local
