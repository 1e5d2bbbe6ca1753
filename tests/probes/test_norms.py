from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_diag.probes import norms
from lightning_diag.probes.norms import l2_norms, total_norm

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [True, False])
def test_norms_agree_with_a_float64_reference(dtype: torch.dtype, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused:
        monkeypatch.delattr(torch, "_foreach_norm")
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in ((3,), (40, 50), (2, 3, 4, 5), ())]
    want = [float(np.linalg.norm(t.double().numpy())) for t in tensors]
    assert l2_norms(tensors, CPU).double().numpy() == pytest.approx(want, rel=2e-6)


def test_half_precision_does_not_overflow() -> None:
    assert float(l2_norms([torch.full((100,), 6e4, dtype=torch.float16)], CPU)[0]) == pytest.approx(6e5, rel=1e-2)


def test_mixed_types_missing_empty_and_sparse() -> None:
    sparse = torch.sparse_coo_tensor(
        torch.tensor([[0, 0, 2]]), torch.tensor([3.0, 1.0, 3.0]), (4,), check_invariants=False
    )
    got = l2_norms([torch.ones(4), None, torch.empty(0), torch.ones(9, dtype=torch.float64), sparse], CPU)
    assert got.tolist() == [2.0, 0.0, 0.0, 3.0, 5.0]
    assert l2_norms([], CPU).shape == (0,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_values_show(bad: float) -> None:
    got = l2_norms([torch.ones(3), torch.tensor([1.0, bad])], CPU)
    assert torch.isfinite(got).tolist() == [True, False]


def test_total_is_the_norm_of_the_flat_vector_and_does_not_overflow() -> None:
    tensors = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (5, 70, 900)]
    flat = torch.cat(tensors).double()
    assert float(total_norm(l2_norms(tensors, CPU))) == pytest.approx(float(flat.norm()), rel=1e-6)
    assert float(total_norm(torch.tensor([3e30, 4e30]))) == pytest.approx(5e30, rel=1e-6)
    assert float(total_norm(torch.zeros(3))) == 0.0
    assert float(total_norm(torch.empty(0))) == 0.0
    assert not np.isfinite(float(total_norm(torch.tensor([1.0, float("inf")]))))


def test_wide_type_is_at_least_float32() -> None:
    assert norms._wide(torch.ones(1, dtype=torch.bfloat16)) is torch.float32
    assert norms._wide(torch.ones(1, dtype=torch.float64)) is torch.float64
