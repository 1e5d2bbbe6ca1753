from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lightning_diag.packet import Packet
from lightning_diag.probes.along import AlongProbe
from lightning_diag.probes.base import Scene
from lightning_diag.probes.strided import Samples
from lightning_diag.reading import Facts


def product(probe: AlongProbe) -> float | None:
    found = probe.collect()
    packet = Packet.pack(1, 0, 0, "train", found)
    return float(packet.unpack(packet.flat.numpy())["grad/along"]) if found else None


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4, 60), nn.Linear(60, 10))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def loss_of(net: nn.Module, seed: int) -> torch.Tensor:
    x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return net(x).square().mean()  # type: ignore[no-any-return]


def test_agrees_with_a_float64_reference_where_all_elements_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_diag.probes.along.ELEMENTS", 10_000)
    net = network()
    optimizer, probe = torch.optim.Adam(net.parameters(), 0.01), AlongProbe()
    assert probe.attach(Scene(net, [optimizer], Facts())) == {}
    matrices = [p for p in net.parameters() if p.ndim > 1]
    last: list[np.ndarray[Any, Any]] | None = None
    for step in range(12):
        optimizer.zero_grad()
        loss_of(net, step).backward()
        if step % 3 == 0:
            now = [p.detach().double().numpy().copy() for p in matrices]
            probe.before_update(0)
            got = product(probe)
            if last is None:
                assert got is None
            else:
                pairs = zip(matrices, now, last, strict=True)
                wanted = sum(
                    float((p.grad.double().numpy() * (b - a)).sum()) for p, b, a in pairs if p.grad is not None
                )
                assert got == pytest.approx(wanted, rel=1e-4)
            last = now
        optimizer.step()


def test_a_strided_sample_tells_by_how_much_a_straight_line_falls() -> None:
    """A linear function: the products foretell its whole fall, but for the standard error of the sample."""
    torch.manual_seed(1)
    net, slope = nn.Linear(300, 200, bias=False), torch.randn(200, 300)
    optimizer, probe = torch.optim.SGD(net.parameters(), 1e-3), AlongProbe()
    probe.attach(Scene(net, [optimizer], Facts()))
    losses, products = [], []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (net.weight * slope).sum()
        loss.backward()
        probe.before_update(0)
        losses.append(float(loss.detach()))
        products.append(product(probe))
        optimizer.step()
    foretold = sum(p for p in products if p is not None)
    assert foretold == pytest.approx(losses[-1] - losses[0], rel=0.25)  # 256 of 60,000 squares of normal values
    assert foretold < 0


def test_scaled_gradients_are_unscaled_and_missing_or_sparse_ones_count_as_none() -> None:
    dense, table = nn.Linear(4, 4, bias=False), nn.Embedding(4, 4, sparse=True)
    net = nn.ModuleDict({"dense": dense, "table": table})
    optimizer, probe = torch.optim.SGD(net.parameters(), 0.1), AlongProbe()
    probe.attach(Scene(net, [optimizer], Facts(), inverse_scale=lambda o: torch.tensor(0.25)))
    probe.before_update(0)
    with torch.no_grad():
        dense.weight.add_(1.0)
        table.weight.add_(1.0)
    dense.weight.grad = torch.full((4, 4), 2.0)
    table(torch.tensor([1])).sum().backward()
    assert table.weight.grad is not None and table.weight.grad.is_sparse
    probe.before_update(0)
    assert product(probe) == pytest.approx(16 * 2.0 * 0.25)
    dense.weight.grad = None
    probe.before_update(0)
    assert product(probe) == 0.0


def test_says_why_where_there_is_nothing_to_measure() -> None:
    net = network()
    two = [torch.optim.SGD(net[0].parameters(), 0.1), torch.optim.SGD(net[3].parameters(), 0.1)]  # type: ignore[index]
    assert AlongProbe().attach(Scene(net, two, Facts())) == {"grad/along": "several optimizers step"}
    probe = AlongProbe()
    assert probe.attach(Scene(nn.LayerNorm(3), two[:1], Facts())) == {
        "grad/along": "the optimizer holds no weight matrix"
    }
    probe.before_update(0)
    assert probe.collect() == []
    probe.detach()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_read_at_the_elements_of_the_weights(layout: torch.memory_format) -> None:
    weight = torch.arange(64 * 32 * 3 * 3).float().reshape(64, 32, 3, 3).to(memory_format=torch.channels_last)
    complex_one = torch.randn(40, 40, dtype=torch.complex64)
    expanded = torch.arange(5.0).expand(300, 5)
    samples = Samples([weight, complex_one, expanded], 128)
    rows = samples.rows()
    grads = [weight.clone().to(memory_format=layout), complex_one.clone(), expanded.clone()]
    assert torch.equal(samples.beside(grads), rows)
    assert not samples.beside([None, *grads[1:]])[0].any()
    assert torch.equal(samples.beside([None, *grads[1:]])[1:], rows[1:])


def test_a_resumed_run_goes_on_from_the_last_sample() -> None:
    def samples(resume_at: int) -> list[float | None]:
        net = network()
        optimizer, probe, out = torch.optim.Adam(net.parameters(), 0.01), AlongProbe(), []
        probe.attach(Scene(net, [optimizer], Facts()))
        for step in range(6):
            if step == resume_at:
                state, probe = probe.state_dict(), AlongProbe()
                probe.attach(Scene(net, [optimizer], Facts()))
                probe.load_state_dict(state, torch.device("cpu"))
            optimizer.zero_grad()
            loss_of(net, step).backward()
            probe.before_update(0)
            out.append(product(probe))
            optimizer.step()
        return out

    assert samples(3) == samples(-1)
    assert samples(-1)[0] is None and None not in samples(-1)[1:]
