from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_diag.probes.data_keys import chunks, hashed_tensors, sample_keys


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int64]
)
@pytest.mark.parametrize("shape", [(64,), (3, 32, 32), (1025,), (7,)])
def test_a_key_depends_on_the_sample_alone(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    x = (torch.rand(9, *shape, generator=g) * 200).to(dtype)
    keys = sample_keys([x])
    assert len(set(keys.tolist())) == 9
    assert torch.equal(sample_keys([x[3:].clone()]), keys[3:])
    assert torch.equal(sample_keys([x.flip(0)]).flip(0), keys)
    changed = x.clone()
    changed[4].view(-1)[-1] += 1
    assert (sample_keys([changed]) != keys).tolist() == [i == 4 for i in range(9)]


def test_few_values_make_many_keys() -> None:
    x = torch.randint(3, (100_000, 24), generator=torch.Generator().manual_seed(0)).double()
    assert len(torch.unique(sample_keys([x]))) == len(torch.unique(x, dim=0))


def test_a_key_travels_in_three_floats() -> None:
    keys = sample_keys([torch.randn(5, 8)])
    parts = chunks(keys).double().long()
    assert torch.equal((parts[:, 0] | parts[:, 1] << 21 | parts[:, 2] << 42) & (2**63 - 1), keys & (2**63 - 1))


X, Y = torch.randn(4, 3), torch.arange(4)


@pytest.mark.parametrize(
    ("batch", "shapes"),
    [
        ((X, Y), [(4, 3)]),
        ([X, Y, Y], [(4, 3)]),
        ({"image": X, "label": Y, "id": Y}, [(4, 3)]),
        ({"input_ids": Y[:, None], "attention_mask": Y[:, None], "labels": Y}, [(4, 1), (4, 1)]),
        (X, [(4, 3)]),
        (((X, X), Y), [(4, 3), (4, 3)]),
        ("text", []),
        ((X, torch.randn(5, 2)), [(4, 3)]),
        (({"nodes": X, "edges": torch.ones(2, 9)}, Y), []),
        ((object(), Y), []),
    ],
)
def test_what_makes_a_sample(batch: Any, shapes: list[tuple[int, ...]]) -> None:
    found: list[Tensor] = hashed_tensors(batch)
    assert [tuple(t.shape) for t in found] == shapes
