from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from lightning_diag.packet import Packet
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.start import StartProbe, kurtosis
from lightning_diag.reading import Facts


def probed(net: nn.Module, forward: Any) -> tuple[dict[str, np.ndarray[Any, np.dtype[np.float64]]], StartProbe]:
    probe = StartProbe()
    assert probe.attach(Scene(net, [torch.optim.SGD(net.parameters(), 0.1)], Facts())) == {}
    probe.batch_start(Batch(None, 0))
    forward()
    packet = Packet.pack(1, 0, 0, "train", probe.collect())
    return packet.unpack(packet.flat.numpy()), probe


@pytest.mark.parametrize("draw", [torch.rand, torch.randn, lambda n: torch.randn(n) ** 3 + 5])
def test_kurtosis_agrees_with_a_float64_reference(draw: Any) -> None:
    torch.manual_seed(0)
    values = draw(1000)
    assert float(kurtosis(values)) == pytest.approx(stats.kurtosis(values.double().numpy(), fisher=False), rel=1e-4)


def test_equal_elements_zeros_and_few_have_values_of_their_own() -> None:
    assert float(kurtosis(torch.full((30, 30), 0.3))) == 0
    assert np.isnan(float(kurtosis(torch.zeros(30, 30))))
    assert np.isnan(float(kurtosis(torch.rand(7))))
    assert float(kurtosis(torch.randn(400, dtype=torch.complex64))) == pytest.approx(3, abs=1)
    assert float(kurtosis(1 + 1e-3 * torch.rand(1000))) == pytest.approx(1.8, abs=0.1)  # no constant


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(8, 8), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.teacher = nn.Linear(8, 8).eval()
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.used.weight
        self.own = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.used(x) + functional.linear(x, self.own)
        out: torch.Tensor = self.attention(x, x, x)[0] + self.teacher(x)
        return out


def test_called_is_what_a_training_call_went_through() -> None:
    net = Net()
    got, _ = probed(net, lambda: net(torch.randn(3, 2, 8)))
    names = [name for name, _ in net.named_parameters()]
    called = dict(zip(names, got["weight/called"], strict=True))
    assert called == {
        "own": 1, "used.weight": 1, "used.bias": 1, "spare.weight": 0, "spare.bias": 0,
        "attention.in_proj_weight": 1, "attention.in_proj_bias": 1, "attention.out_proj.weight": 1,
        "attention.out_proj.bias": 1, "teacher.weight": 0, "teacher.bias": 0, "tied.bias": 0,
    }  # fmt: skip
    assert got["weight/kurtosis"].shape == got["weight/called"].shape


def test_it_looks_once_and_leaves_nothing_behind() -> None:
    net = Net()
    seen: list[int] = []

    def forward() -> None:
        seen.append(sum(len(m._forward_hooks) for m in net.modules()))
        copy.deepcopy(net)(torch.randn(3, 2, 8))  # a copy's calls are not the module's

    got, probe = probed(net, forward)
    assert seen[0] > 0
    assert not np.nanmax(got["weight/called"])
    assert not any(m._forward_hooks or m._forward_hooks_with_kwargs for m in net.modules())
    probe.batch_start(Batch(None, 1))
    assert probe.collect() == []
    resumed = StartProbe()
    resumed.attach(Scene(net, [torch.optim.SGD(net.parameters(), 0.1)], Facts()))
    resumed.load_state_dict(probe.state_dict(), torch.device("cpu"))
    resumed.batch_start(Batch(None, 2))
    assert resumed.collect() == []


def test_what_is_compiled_is_not_hooked() -> None:
    net = Net()
    net.spare.compile(backend="eager")
    got, _ = probed(net, lambda: None)
    names = [name for name, _ in net.named_parameters()]
    unknown = [name for name, value in zip(names, got["weight/called"], strict=True) if np.isnan(value)]
    assert unknown == ["spare.weight", "spare.bias"]


def test_nothing_to_look_at_is_said() -> None:
    net = nn.Linear(2, 2).requires_grad_(False)
    told = StartProbe().attach(Scene(net, [], Facts()))
    assert set(told) == {"weight/kurtosis", "weight/called"}
