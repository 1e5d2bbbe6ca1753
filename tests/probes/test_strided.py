from __future__ import annotations

import pytest
import torch

from lightning_diag.probes.strided import ELEMENTS, Samples, strided_view


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
def test_rows_are_the_strided_samples_as_they_are_now(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused:
        monkeypatch.delattr(torch, "_foreach_copy_")
    tensors = [torch.randn(40, 50), torch.randn(3).double(), torch.randn(8, 4, 3, 3, dtype=torch.bfloat16)]
    tensors[2] = tensors[2].to(memory_format=torch.channels_last)
    samples = Samples(tensors)
    before = samples.rows(0)
    kept = before.clone()
    for tensor in tensors:
        tensor.mul_(2)
    after = samples.rows(1)
    assert before.dtype == torch.float32 and before.shape == (3, samples.width)
    assert torch.equal(before, kept) and torch.equal(after, 2 * before)
    for row, tensor in zip(after, tensors, strict=True):
        view = strided_view(tensor)
        assert torch.equal(row[: view.numel()], view.float()) and not row[view.numel() :].any()


def test_views_are_made_once_and_anew_when_the_memory_moved() -> None:
    parameter = torch.nn.Parameter(torch.ones(4))
    samples = Samples([parameter])
    samples.rows()
    made = samples._views
    samples.rows()
    assert samples._views is made
    parameter.data = torch.full((4,), 7.0)
    assert samples.rows().tolist() == [[7.0] * 4]
    assert samples._views is not made


def test_what_can_only_be_copied_is_read_again_every_time() -> None:
    memory = torch.ones(5)
    samples = Samples([memory.expand(3, 5)])
    assert samples.rows().tolist() == [[1.0] * 15]
    memory.fill_(2)
    assert samples.rows().tolist() == [[2.0] * 15]


def test_complex_tensors_are_sampled_as_pairs_of_numbers() -> None:
    assert Samples([torch.tensor([1 + 2j])]).rows().tolist() == [[1.0, 2.0]]
