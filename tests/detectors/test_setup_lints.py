"""Notes on how optimizers are set, from real modules and optimizers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from lightning_diag.detectors.setup_adam_with_l2 import SetupAdamWithL2
from lightning_diag.detectors.setup_decay_on_norm import SetupDecayOnNorm
from lightning_diag.errors import NotMeasurable
from lightning_diag.probes.base import Scene
from lightning_diag.probes.gradient import GradientProbe
from lightning_diag.probes.optimizers import decays
from lightning_diag.reading import Facts, Reading

NET = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2))


def first(optimizer: Optimizer) -> Reading:
    probe = GradientProbe()
    probe.attach(Scene(NET, [optimizer], Facts()))
    values = {"optimizer/weight_decay": decays([optimizer])}
    return Reading(1, 0, values, Facts().merged(dict(probe.facts())))


def split(decay: float, norms: float) -> Optimizer:
    norm = [*NET[1].parameters()]
    rest = [p for p in NET.parameters() if all(p is not q for q in norm)]
    return torch.optim.AdamW([{"params": rest, "weight_decay": decay}, {"params": norm, "weight_decay": norms}])


def test_adam_with_l2() -> None:
    found = SetupAdamWithL2().update(first(torch.optim.Adam(NET.parameters(), weight_decay=0.01)))
    assert found is not None and found.where == ("Adam group 0",) and "weight decay of 0.01" in found.message


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.Adam(NET.parameters()),
        torch.optim.AdamW(NET.parameters(), weight_decay=0.1),
        torch.optim.SGD(NET.parameters(), 0.1, weight_decay=1e-4),
    ],
)
def test_decay_where_it_belongs_is_silent(optimizer: Optimizer) -> None:
    assert SetupAdamWithL2().update(first(optimizer)) is None


def test_decay_on_norms() -> None:
    found = SetupDecayOnNorm().update(first(torch.optim.AdamW(NET.parameters(), weight_decay=0.1)))
    assert found is not None and found.where == ("1",) and "2 of 2 parameters" in found.message


@pytest.mark.parametrize("optimizer", [split(0.1, 0.0), torch.optim.AdamW(NET.parameters())])
def test_norms_that_are_left_out_and_little_decay_are_silent(optimizer: Optimizer) -> None:
    assert SetupDecayOnNorm().update(first(optimizer)) is None


@pytest.mark.parametrize("detector", [SetupAdamWithL2(), SetupDecayOnNorm()])
def test_without_what_it_needs_it_says_so(detector: SetupAdamWithL2 | SetupDecayOnNorm) -> None:
    with pytest.raises(NotMeasurable, match="known"):
        detector.update(Reading(1, 0, {"optimizer/weight_decay": np.array([np.nan])}, Facts()))
