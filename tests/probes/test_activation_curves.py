from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lightning_diag.probes.activation_curves import FLAT, PLAIN, RELU, Curve, curve_of

SMOOTH = [
    nn.Tanh(),
    nn.Sigmoid(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.ELU(),
    nn.ELU(alpha=0.5),
    nn.ELU(alpha=2.0),
    nn.CELU(alpha=2.0),
    nn.SELU(),
    nn.Softplus(),
    nn.Softplus(beta=3.0),
    nn.Softsign(),
]
CLIPPED = [
    nn.ReLU(),
    nn.ReLU6(),
    nn.Hardtanh(),
    nn.Hardtanh(0.0, 2.0),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.Hardshrink(),
]


def slope(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(f(x).sum(), x)
    return grad.detach()


def flat(curve: Curve, value: Tensor) -> Tensor:
    none = torch.zeros_like(value, dtype=torch.bool)
    off = value == curve.off_at if curve.off_at is not None else none
    off = off | (value <= curve.off_below) if curve.off_below is not None else off
    low = value <= curve.low if curve.low is not None else none
    return off | low | (value >= curve.high if curve.high is not None else none)


@pytest.mark.parametrize("module", SMOOTH + CLIPPED, ids=str)
def test_the_flat_region_is_where_the_derivative_is_below_five_percent_of_its_maximum(module: nn.Module) -> None:
    x = torch.linspace(-30, 30, 120_001, dtype=torch.float64) + 1e-5  # not on the kinks themselves
    curve = curve_of(module)
    assert curve is not None
    derivative = slope(module, x).abs()
    told = flat(curve, x if curve.of_input else module(x).detach())
    small = derivative < FLAT * derivative.max()
    if curve.of_input or isinstance(module, nn.Hardswish):  # the derivative's dip through zero near -1 doesn't count
        small &= x < -1.8
    assert (told != small).double().mean() < 2e-3, "at most a few points at the very limit differ"
    assert told.any()


@pytest.mark.parametrize("module", [nn.LeakyReLU(), nn.PReLU(), nn.RReLU(), nn.GLU(), nn.Softmax(-1)], ids=str)
def test_functions_without_a_flat_region_have_none(module: nn.Module) -> None:
    assert curve_of(module) is PLAIN
    assert not PLAIN.can_die
    assert not PLAIN.can_saturate


def test_functions_that_others_wrote_are_known_by_their_name() -> None:
    class NewGELUActivation(nn.Module):
        pass

    class LeakyReLUSquared(nn.Module):
        pass

    class ReluBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

    class TanhWithScale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    known = curve_of(NewGELUActivation())
    assert known is not None
    assert known.of_input
    assert curve_of(LeakyReLUSquared()) is PLAIN
    assert curve_of(ReluBlock()) is None, "a block is no function"
    assert curve_of(TanhWithScale()) is None, "its output isn't bounded by 1"
    assert curve_of(nn.Linear(2, 2)) is None


def test_in_place_functions_are_judged_by_their_output_or_not_at_all() -> None:
    assert curve_of(nn.ReLU(inplace=True)) is RELU
    assert curve_of(nn.SiLU(inplace=True)) is PLAIN
    assert curve_of(nn.Mish(inplace=True)) is PLAIN
