from __future__ import annotations

import pytest
import torch

from lightning_diag.probes.strided import ELEMENTS, split_norms, strided_view


@pytest.mark.parametrize("shape", [(7,), (1024,), (64, 128), (512, 512), (256, 3, 3, 3), (100_003,), ()])
def test_a_view_of_bounded_size_that_sees_later_changes(shape: tuple[int, ...]) -> None:
    tensor = torch.zeros(shape)
    view = strided_view(tensor)
    assert min(tensor.numel(), ELEMENTS // 2) <= view.numel() <= ELEMENTS
    tensor.add_(1.0)
    assert bool((view == 1).all())


def test_the_sample_walks_through_all_columns() -> None:
    tensor = torch.arange(512).float().repeat(512, 1)
    seen = strided_view(tensor).unique().numel()
    assert seen > 400


def test_channels_last_is_sampled_in_place_and_an_expanded_tensor_as_a_copy() -> None:
    weight = torch.randn(64, 32, 3, 3).to(memory_format=torch.channels_last)
    view = strided_view(weight)
    weight.zero_()
    assert float(view.abs().sum()) == 0.0
    assert strided_view(torch.ones(1, 5).expand(3, 5)).tolist() == [1.0] * 15


def test_the_root_mean_square_is_within_its_standard_error() -> None:
    weight = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(1))
    sample = strided_view(weight)
    error = float(sample.pow(2).mean().sqrt()) - 1.0
    assert abs(error) < 4 * (1 / (2 * sample.numel())) ** 0.5


@pytest.mark.parametrize("fused", [True, False])
def test_split_norms(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused:
        monkeypatch.delattr(torch, "_foreach_norm")
    assert split_norms(torch.tensor([3.0, 4.0, 12.0, 5.0]), [2, 1, 1]).tolist() == [5.0, 12.0, 5.0]
