"""Numbers kept on a device are made once, and only where they may be kept."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from lightning_diag.probes.constants import constant, made_once

CPU = torch.device("cpu")


def test_a_number_is_made_once() -> None:
    made: list[int] = []

    @made_once
    def filled(value: int) -> torch.Tensor:
        made.append(value)
        return torch.full((), value)

    assert filled(3) is filled(3) and filled(4).item() == 4 and made == [3, 4]
    assert constant(torch.nan, CPU) is constant(torch.nan, CPU)
    assert constant(2.0, CPU, torch.float64).dtype is torch.float64


def test_a_fake_tensor_is_not_kept_and_no_real_one_handed_out_among_them() -> None:
    with FakeTensorMode():
        assert isinstance(constant(17.0, CPU), FakeTensor)
    assert not isinstance(constant(17.0, CPU), FakeTensor)
    with FakeTensorMode():
        assert isinstance(constant(17.0, CPU), FakeTensor)


def test_what_is_made_in_inference_mode_may_be_used_outside_it() -> None:
    with torch.inference_mode():
        constant(18.0, CPU)
    weight = torch.ones((), requires_grad=True)
    (weight * constant(18.0, CPU)).backward()  # an inference tensor can't be saved for it
    assert weight.grad is not None and weight.grad.item() == 18.0
