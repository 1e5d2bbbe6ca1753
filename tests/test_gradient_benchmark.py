"""The benchmark of the gradient and update rules still runs; its figures are measured by the script itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks import gradient_rules as rules
from benchmarks.gradient_gan import train_gan
from benchmarks.gradient_networks import DATA, NETWORKS
from benchmarks.gradient_trainings import parameter_kinds, signals_after, signals_before, train, variant
from benchmarks.gradient_zoo import CASES, GAN, MLP, SGD, Case


def test_signals_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    spare = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([0.6, 0.8])
    made = signals_before([weight, spare], clip=0.5)
    assert made["grad/norm"] == pytest.approx(1.0)
    assert made["grad/norm_after_clip"] == pytest.approx(0.5)
    assert made["grad/clipped"] == 1
    assert made["grad/parameter_norm"].tolist() == pytest.approx([1, 0])
    assert made["grad/missing"].tolist() == [0, 1]
    before = [p.detach().clone() for p in (weight, spare)]
    torch.optim.SGD([weight, spare], lr=0.1).step()
    after = signals_after([weight, spare], before, made["weight/parameter_norm"])["update/parameter_ratio"]
    assert after[0] == pytest.approx(0.05 / 5)
    assert math.isnan(after[1])


def test_a_fault_is_told_and_its_healthy_twin_is_not() -> None:
    healthy, score = train(variant(MLP, steps=80), seed=7)
    assert not any(map(rules.alarmed, [rules.judge(healthy)]))
    faulty, low = train(variant(SGD, steps=80, lr=0.05e-3), seed=7)
    assert {f.rule for f in rules.judge(faulty).values() if f.severity > 0} == {"updates/too-small"}
    assert low < 0.5 < score


def test_thinning_keeps_the_loss() -> None:
    readings, _ = train(variant(SGD, steps=120, lr=0.05e-3), seed=7)
    assert rules.judge(readings)["updates/too-small"].step == 12
    assert rules.judge(readings, every=5, dense=10)["updates/too-small"].step == 20


def test_alternating_optimizers_leave_half_unknown() -> None:
    readings, _ = train_gan(0, steps=4)
    for reading, idle in zip(readings, (slice(6, 12), slice(0, 6)) * 2, strict=True):
        assert np.isnan(reading.values["grad/missing"]).nonzero()[0].tolist() == list(range(12))[idle]


def test_harm_decides_the_kind() -> None:
    twin = Case("t", MLP)
    case = Case("c", MLP, "t")
    runs: rules.Runs = {("t", 0): ([], 0.9), ("t", 1): ([], 0.9), ("c", 0): ([], 0.8), ("c", 1): ([], 0.88)}
    assert rules.harm(case, runs, (0, 1)) == pytest.approx(0.06)
    assert [rules.kind(case, loss) for loss in (0.06, 0.03, 0.01)] == ["harmful", "grey", "benign"]
    assert rules.kind(twin, 0.0) == "healthy"


def test_every_case_can_be_built_and_names_a_twin() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert {case.twin for case in CASES if case.twin} <= {case.name for case in CASES if not case.twin}
    for case in CASES:
        if case.setup is not GAN:
            assert case.setup.data in DATA
            assert parameter_kinds(NETWORKS[case.setup.net]())
