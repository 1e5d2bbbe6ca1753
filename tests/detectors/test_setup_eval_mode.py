from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lightning_diag.detectors.setup_eval_mode import SetupEvalMode
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.packet import Packet
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.modes import ModeProbe
from lightning_diag.reading import Facts, Reading


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1))
        self.drop = nn.Dropout(0.3)
        self.none = nn.Dropout(0.0)
        self.head = nn.Linear(4, 2)


def judged(net: nn.Module) -> Finding | None:
    probe = ModeProbe()
    missing = probe.attach(Scene(net, [], Facts()))
    probe.loss(Batch(None, 0))
    packet = Packet.pack(1, 0, 0, "train", probe.collect())
    values: dict[str, Any] = packet.unpack(packet.flat.numpy())
    assert set(values) == set(probe.signals) - set(missing)
    probe.loss(Batch(None, 1))
    assert probe.collect() == [], "once a run"
    facts = Facts().merged({**dict(probe.facts()), "unmeasured": missing})
    return SetupEvalMode().update(Reading(1, 0, values, facts))


def test_a_model_in_training_mode_is_silent() -> None:
    assert judged(Net().train()) is None


def test_batch_normalization_that_never_saw_a_batch_is_a_warning() -> None:
    found = judged(Net().eval())
    assert found is not None and found.severity.name == "WARNING" and found.where == ("body.1",)
    assert found.message.startswith("1 of 1 batch normalizations are trained in evaluation mode with statistics that")


def test_a_pretrained_model_handed_over_in_evaluation_mode_is_a_note() -> None:
    net = Net()
    net.body(torch.randn(8, 1, 5, 5))
    found = judged(net.eval())
    assert found is not None and found.severity.name == "INFO" and found.where == ("body.3", "drop")
    assert found.message.startswith("All 2 dropout layers are in evaluation mode")


@pytest.mark.parametrize("frozen", [True, False])
def test_kept_statistics_and_frozen_bodies_are_meant(frozen: bool) -> None:
    net = Net()
    net.body(torch.randn(8, 1, 5, 5))
    net.body.eval()
    if frozen:
        net.body.requires_grad_(False)
    assert judged(net) is None, "dropout before the head is on"
    net.drop.p = 0.0
    if frozen:
        with pytest.raises(NotMeasurable):
            judged(net)
    else:
        found = judged(net)
        assert found is not None and found.where == ("body.3",)
        assert found.message.startswith("The dropout layer is in evaluation mode")


def test_layers_with_a_dropout_of_their_own_count() -> None:
    net = nn.Sequential(nn.LSTM(4, 4, 2, dropout=0.2), nn.MultiheadAttention(4, 2, dropout=0.1))
    found = judged(net.eval())
    assert found is not None and found.where == ("0", "1")


def test_nothing_to_judge_is_said() -> None:
    with pytest.raises(NotMeasurable, match="neither dropout"):
        judged(nn.Linear(2, 2).eval())
