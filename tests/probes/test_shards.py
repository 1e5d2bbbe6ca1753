from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_diag.probes.shards import copies, shard_of
from lightning_diag.probes.strided import Samples


class Placement:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def is_partial(self) -> bool:
        return self.kind == "partial"

    def is_replicate(self) -> bool:
        return self.kind == "replicate"


class Mesh:
    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes

    def size(self, dim: int) -> int:
        return self.sizes[dim]


class Distributed:
    """What is asked of a DTensor."""

    def __init__(self, sizes: tuple[int, ...], *kinds: str) -> None:
        self.device_mesh = Mesh(*sizes)
        self.placements = [Placement(kind) for kind in kinds]

    def to_local(self) -> torch.Tensor:
        return torch.ones(2)


@pytest.mark.parametrize(
    ("sizes", "kinds", "expected"),
    [
        ((4,), ("shard",), 1.0),
        ((4,), ("replicate",), 4.0),
        ((2, 2), ("replicate", "shard"), 2.0),  # hybrid: sharded within a node
        ((2, 2), ("shard", "shard"), 1.0),
        ((2, 2), ("shard", "partial"), None),
    ],
)
def test_how_many_processes_hold_the_same(sizes: tuple[int, ...], kinds: tuple[str, ...], expected: Any) -> None:
    assert copies(Distributed(sizes, *kinds), 4) == expected


def test_a_plain_tensor_lies_in_every_process_and_is_its_own_shard() -> None:
    plain = torch.ones(3)
    assert copies(plain, 4) == 4.0 and shard_of(plain) is plain
    assert shard_of(Distributed((2,), "shard")).numel() == 2  # type: ignore[arg-type]


def test_empty_shards_are_rows_of_zeros() -> None:
    samples = Samples([torch.ones(0, 4), torch.full((3,), 2.0)])
    assert samples.rows().tolist() == [[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]
    assert samples.blow_up(torch.device("cpu")).tolist() == [0.0, 1.0]
    assert Samples([torch.ones(0)]).rows().tolist() == [[0.0]]
