from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lightning_diag.probes.base import Scene
from lightning_diag.probes.precision import PrecisionProbe, near_smallest
from lightning_diag.reading import Facts


def step(net: nn.Module, lr: float, change: float | None = None) -> tuple[dict[str, float], dict[str, str]]:
    """Values of one step of SGD; with ``change`` gradients pass through float16 at that scale."""
    optimizer, probe = torch.optim.SGD(net.parameters(), lr), PrecisionProbe()
    reasons = probe.attach(Scene(net, [optimizer], Facts()))
    p = next(net.parameters())
    net(torch.randn(64, 32, dtype=p.dtype)).float().pow(2).mean().backward()
    if change is not None:
        for p in net.parameters():
            assert p.grad is not None
            p.grad = (p.grad * change).half().float() / change
    probe.before_update(0)
    optimizer.step()
    probe.after_update(0)
    return {name: float(value) for name, value in probe.collect()}, reasons


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)).to(dtype)


@pytest.mark.parametrize(("change", "low", "high"), [(None, 0, 0.05), (1.0, 0, 0.05), (1e-5, 0.9, 1.0)])
def test_gradients_near_the_smallest_number_of_float16(change: float | None, low: float, high: float) -> None:
    values, reasons = step(network(), 0.1, change)
    assert low <= values["grad/quantized_frac"] <= high
    assert "update/lost_frac" not in values and "float32" in reasons["update/lost_frac"]


def test_it_is_the_same_whatever_the_loss_scale() -> None:
    grads = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * 1e-6
    half = grads.half().float()
    counts = [near_smallest([half * scale]).tolist() for scale in (1.0, 1024.0)]
    assert counts[0] == counts[1] and counts[0][1] / counts[0][0] > 0.9


def test_a_few_gradients_that_are_left_say_nothing() -> None:
    rest = torch.randn(20, generator=torch.Generator().manual_seed(0)) + 2.0  # near each other, as a last layer's bias
    assert near_smallest([torch.zeros(4096), rest]).tolist()[1] <= 3
    net = network()
    with torch.no_grad():
        next(m for m in net.modules() if isinstance(m, nn.Linear)).bias.fill_(-1e3)  # dead: only the last bias has one
    assert step(net, 0.1)[0]["grad/quantized_frac"] < 0.2
    net = network()
    with torch.no_grad():
        next(m for m in net.modules() if isinstance(m, nn.Linear)).bias.fill_(-1e3)
        for p in net.get_submodule("2").parameters():
            p.zero_()
    assert math.isnan(step(net, 0.1)[0]["grad/quantized_frac"])  # no gradient at all


@pytest.mark.parametrize(("lr", "low", "high"), [(1.0, 0.0, 0.3), (1e-6, 0.99, 1.0)])
def test_steps_that_bfloat16_rounds_away(lr: float, low: float, high: float) -> None:
    values, reasons = step(network(torch.bfloat16), lr)
    assert low <= values["update/lost_frac"] <= high and not reasons


def test_it_changes_nothing_and_reads_what_is_there() -> None:
    def weights(watched: bool) -> list[Tensor]:
        net = network()
        optimizer, probe = torch.optim.Adam(net.parameters(), 0.01), PrecisionProbe()
        probe.attach(Scene(net, [optimizer], Facts()))
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(4, 32)).sum().backward()
            if watched:
                probe.before_update(0)
            optimizer.step()
            if watched:
                probe.after_update(0)
                assert probe.collect()
        return [p.detach() for p in net.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(weights(True), weights(False), strict=True))


def test_without_gradients_or_optimizers_it_says_so() -> None:
    probe = PrecisionProbe()
    assert set(probe.attach(Scene(network(), [], Facts()))) == set(PrecisionProbe.signals)
    net = network()
    assert probe.attach(Scene(net, [torch.optim.SGD(net.parameters(), 0.1)], Facts())).keys() == {"update/lost_frac"}
    probe.before_update(0)
    probe.after_update(0)
    assert probe.collect() == []
