from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lightning_diag.packet import Packet
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.gradient import GradientProbe
from lightning_diag.reading import Facts, Reading


def measured(probe: GradientProbe) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    packet = Packet.pack(1, 0, 0, "train", probe.collect())
    return packet.unpack(packet.flat.numpy())


def one_step(module: nn.Module, optimizer: torch.optim.Optimizer, probe: GradientProbe, clip: float = 0.0) -> None:
    optimizer.zero_grad()
    module(torch.randn(8, 5, generator=torch.Generator().manual_seed(0))).pow(2).sum().backward()
    probe.before_update(0)
    if clip:
        nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    probe.after_update(0)


def test_every_signal_agrees_with_a_float64_reference() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 700), nn.LayerNorm(700), nn.ReLU(), nn.Linear(700, 3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    probe = GradientProbe()
    assert probe.attach(Scene(module, [optimizer], Facts(clip_val=0.5))) == {}
    before = [p.detach().double().clone() for p in module.parameters()]
    one_step(module, optimizer, probe, clip=0.5)
    after = [p.detach().double() for p in module.parameters()]
    changes = [float((b - a).norm()) for a, b in zip(after, before, strict=True)]
    weights = [float(b.norm()) for b in before]
    got = measured(probe)
    assert float(got["grad/norm_after_clip"]) == pytest.approx(0.5, rel=1e-3)
    assert float(got["grad/clipped"]) == 1.0
    assert got["lr"].tolist() == pytest.approx([0.01])
    # sampled: 2,100 and 3,500 elements give at least 512 values, standard error at most 1 / sqrt(2 * 512) = 3 %
    assert got["weight/parameter_norm"] == pytest.approx(weights, rel=0.1)
    ratios = [c / w if w else float("nan") for c, w in zip(changes, weights, strict=True)]
    assert got["update/parameter_ratio"] == pytest.approx(ratios, rel=0.2, nan_ok=True)
    norms = got["grad/parameter_norm"]
    assert float(got["grad/norm"]) == pytest.approx(float(np.linalg.norm(norms)), rel=1e-5)
    assert np.isnan(got["update/parameter_ratio"][3])  # a LayerNorm bias starts at zero: no ratio


def test_distance_is_the_way_from_the_first_sample_and_goes_on_after_a_resume() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 700), nn.Tanh(), nn.Linear(700, 3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    probe = GradientProbe()
    probe.attach(Scene(module, [optimizer], Facts()))
    start = [p.detach().double().clone() for p in module.parameters()]
    one_step(module, optimizer, probe)
    assert measured(probe)["weight/distance"].tolist() == [0.0] * 4
    for _ in range(3):
        here = [p.detach().double().clone() for p in module.parameters()]
        one_step(module, optimizer, probe)
        got = measured(probe)["weight/distance"]
        assert got == pytest.approx([float((h - s).norm()) for h, s in zip(here, start, strict=True)], rel=0.1)
    resumed = GradientProbe()
    resumed.attach(Scene(module, [optimizer], Facts()))
    resumed.load_state_dict(probe.state_dict(), torch.device("cpu"))
    here = [p.detach().double().clone() for p in module.parameters()]
    one_step(module, optimizer, resumed)
    got = measured(resumed)["weight/distance"]
    assert got == pytest.approx([float((h - s).norm()) for h, s in zip(here, start, strict=True)], rel=0.1)


def test_facts_name_kinds_and_what_no_optimizer_holds() -> None:
    module = nn.ModuleDict({"emb": nn.Embedding(4, 5), "norm": nn.BatchNorm1d(5), "out": nn.Linear(5, 2)})
    module["out"].bias.requires_grad_(False)
    probe = GradientProbe()
    probe.attach(Scene(module, [torch.optim.SGD(module["out"].parameters(), lr=0.1)], Facts()))
    facts = probe.facts()
    assert facts["names"]["parameter"] == ("emb.weight", "norm.weight", "norm.bias", "out.weight")
    assert facts["parameter_kind"] == ("embedding", "norm", "norm", "matrix")
    assert facts["in_optimizer"] == (False, False, False, True)
    assert facts["normalized"] is True


def test_missing_gradients_and_non_finite_ones_are_named() -> None:
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    probe = GradientProbe()
    probe.attach(Scene(module, [optimizer], Facts()))
    module["a"](torch.full((1, 2), float("nan"))).sum().backward()
    probe.before_update(0)
    optimizer.step()
    probe.after_update(0)
    got = measured(probe)
    assert got["grad/missing"].tolist() == [0, 0, 1, 1]
    assert np.isnan(got["grad/parameter_norm"][0])
    assert got["grad/parameter_norm"][2:].tolist() == [0, 0]


def test_two_optimizers_keep_parameter_order_and_nan_for_the_one_that_rested() -> None:
    module = nn.ModuleDict({"a": nn.Linear(2, 1, bias=False), "b": nn.Linear(2, 1, bias=False)})
    second = torch.optim.SGD(module["a"].parameters(), lr=0.2)  # listed second, registered first
    first = torch.optim.SGD(module["b"].parameters(), lr=0.1)
    probe = GradientProbe()
    probe.attach(Scene(module, [first, second], Facts(), automatic=False))
    module["b"](torch.ones(1, 2)).sum().backward()
    probe.before_update(0)
    first.step()
    probe.after_update(0)
    got = measured(probe)
    assert got["lr"].tolist() == pytest.approx([0.1, 0.2])
    assert np.isnan(got["grad/parameter_norm"]).tolist() == [True, False]
    assert float(got["grad/norm"]) == pytest.approx(2**0.5)


def test_scaled_gradients_are_unscaled() -> None:
    module = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    probe = GradientProbe()
    probe.attach(Scene(module, [optimizer], Facts(), inverse_scale=lambda _: torch.tensor(1 / 1024)))
    (module(torch.ones(1, 2)).sum() * 1024).backward()
    probe.before_update(0)
    assert float(probe._norms[0][0]) == pytest.approx(2**0.5)


def test_what_can_not_be_measured_says_why() -> None:
    frozen = nn.Linear(2, 2)
    frozen.requires_grad_(False)
    assert "no parameter" in GradientProbe().attach(Scene(frozen, [], Facts()))["grad/norm"]
    reasons = GradientProbe().attach(Scene(nn.Linear(2, 2), [], Facts()))
    assert "no optimizer" in reasons["update/parameter_ratio"]


def test_nothing_is_given_for_a_step_without_an_update() -> None:
    module = nn.Linear(2, 2)
    probe = GradientProbe()
    probe.attach(Scene(module, [torch.optim.SGD(module.parameters(), lr=0.1)], Facts()))
    assert probe.collect() == []


@pytest.mark.parametrize("strategy", ["FSDPStrategy", "DeepSpeedStrategy"])
def test_a_strategy_that_keeps_its_shards_to_itself_is_not_measured(strategy: str) -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    probe = GradientProbe()
    reasons = probe.attach(Scene(module, [optimizer], Facts(world_size=2, strategy=strategy)))
    assert reasons.keys() == set(probe.signals) and len(set(reasons.values())) == 1
    probe.before_update(0)
    assert probe.collect() == []


def test_an_engine_that_knows_its_gradient_norm_is_asked_for_it() -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    probe, norms = GradientProbe(), iter([None, 2.5])
    facts = Facts(world_size=2, strategy="DeepSpeedStrategy")
    reasons = probe.attach(Scene(module, [optimizer], facts, engine_norm=lambda: next(norms)))
    assert "grad/norm" not in reasons and "grad/parameter_norm" in reasons
    assert probe.collect() == []  # not known yet
    assert dict(probe.collect())["grad/norm"] == 2.5


def test_gradients_left_over_from_the_step_before_are_seen() -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    probe = GradientProbe()
    probe.attach(Scene(net, [optimizer], Facts()))
    carried = []
    for clear in (True, False, True):
        if clear:
            optimizer.zero_grad()
        probe.loss(Batch(None, 0))
        net(torch.ones(1, 3)).sum().backward()
        probe.loss(Batch(None, 1))  # a second micro-batch: its gradients are meant to be there
        net(torch.ones(1, 3)).sum().backward()
        probe.before_update(0)
        probe.after_update(0)
        carried.append(float(dict(probe.collect())["grad/carried_norm"]))
    assert carried[0] == carried[2] == 0.0
    assert carried[1] > 1.0


def test_a_parameter_that_no_optimizer_would_clear_is_not_left_over() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    optimizer = torch.optim.SGD(net[1].parameters(), 0.1)
    probe = GradientProbe()
    probe.attach(Scene(net, [optimizer], Facts()))
    for _ in range(3):
        optimizer.zero_grad(set_to_none=False)
        probe.loss(Batch(None, 0))
        net(torch.ones(1, 3)).sum().backward()
        probe.before_update(0)
        probe.after_update(0)
        assert float(dict(probe.collect())["grad/carried_norm"]) == 0.0
    assert next(net.parameters()).grad is not None


def test_each_of_several_optimizers_has_a_norm_of_its_own() -> None:
    net = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])
    optimizers = [torch.optim.SGD(part.parameters(), 0.1) for part in net]
    probe = GradientProbe()
    probe.attach(Scene(net, optimizers, Facts(), automatic=False))
    assert probe.facts()["names"]["optimizer"] == ("SGD 0 (0)", "SGD 1 (1)")
    assert probe.facts()["parameter_optimizer"] == (0, 0, 1, 1) and probe.facts()["group_optimizer"] == (0, 1)
    for k in (0, 1):
        (100.0**k * net[k](torch.ones(1, 3)).sum()).backward()
        probe.before_update(k)
        probe.after_update(k)
    values = dict(probe.collect())
    first, second = np.asarray(values["grad/optimizer_norm"]).tolist()
    assert second == pytest.approx(100 * first) and float(values["grad/norm"]) == pytest.approx(
        math.hypot(first, second)
    )
    probe.before_update(1)
    probe.after_update(1)
    alone = np.asarray(dict(probe.collect())["grad/optimizer_norm"]).tolist()
    assert math.isnan(alone[0]) and alone[1] == pytest.approx(second)


def test_whether_several_optimizers_follow_one_loss() -> None:
    net = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])
    optimizers = [torch.optim.SGD(part.parameters(), 0.1) for part in net]
    probe, known = GradientProbe(), Facts()
    probe.attach(Scene(net, optimizers, known, automatic=False))

    def step(losses: int, who: tuple[int, ...]) -> bool | None:
        nonlocal known
        probe.batch_start(Batch(None, 0))
        for _ in range(losses):
            probe.loss(Batch(None, 0))
        for k in who:
            probe.before_update(k)
            probe.after_update(k)
        known = known.merged(probe.learn(Reading(1, 0, dict(probe.collect()), known)))
        return known.shared_loss

    assert step(1, ()) is None  # accumulates
    assert step(1, (0, 1)) is True
    assert step(2, (0, 1)) is False
    assert step(1, (0, 1)) is False  # for good
    known = Facts()
    assert step(1, (1,)) is False  # they take turns
