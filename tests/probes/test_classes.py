from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.packet import Packet
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.class_counts import CONFUSION_CLASSES, ClassCounts
from lightning_diag.probes.classes import ClassProbe
from lightning_diag.reading import Facts, Reading


def attached() -> ClassProbe:
    probe = ClassProbe()
    probe.attach(Scene(torch.nn.Identity(), [], Facts()))
    return probe


def validated(probe: ClassProbe, batches: list[Observation]) -> dict[str, Any]:
    probe.validation_start()
    for seen in batches:
        probe.validation_batch(Batch(None, 0, observation=seen))
    packet = Packet.pack(1, 0, -1, "validation", probe.validation_end({}))
    return packet.unpack(packet.flat.numpy())


def test_counts_agree_with_scikit_learn() -> None:
    g = torch.Generator().manual_seed(0)
    batches = [
        Observation(target=torch.randint(7, (33,), generator=g), logits=torch.randn(33, 7, generator=g))
        for _ in range(5)
    ]
    got = validated(attached(), batches)
    truth = torch.cat([b.target for b in batches if b.target is not None])
    guess = torch.cat([b.logits.argmax(1) for b in batches if b.logits is not None])
    want = confusion_matrix(truth, guess, labels=range(7))
    assert got["class/confusion"].tolist() == want.tolist()
    assert got["class/support"].tolist() == want.sum(1).tolist()
    assert got["class/predicted"].tolist() == want.sum(0).tolist()
    assert got["class/right"].tolist() == np.diag(want).tolist()


def test_segmentation_counts_pixels_and_ignores_what_is_out_of_range() -> None:
    target = torch.tensor([[[0, 1], [2, 255]]])
    logits = torch.zeros(1, 3, 2, 2)
    logits[:, 1] = 1.0
    got = validated(attached(), [Observation(target=target, logits=logits)])
    assert got["class/support"].tolist() == [1, 1, 1] and got["class/predicted"].tolist() == [0, 3, 0]


@pytest.mark.parametrize("recognized", [True, False])
def test_multi_label_and_binary_need_a_recognized_loss(recognized: bool) -> None:
    probe = attached()
    probe.learn(Reading(1, 0, {}, Facts(loss_kind="bce" if recognized else None)))
    many = Observation(target=torch.tensor([[1.0, 0.0, 1.0]]), logits=torch.tensor([[2.0, 1.0, -1.0]]))
    probe.validation_start()
    probe.validation_batch(Batch(None, 0, observation=many))
    values: dict[str, Any] = dict(probe.validation_end({}))
    if not recognized:
        assert values == {}
        return
    assert values["class/support"].tolist() == [1, 0, 1] and values["class/right"].tolist() == [1, 0, 0]
    one = Observation(target=torch.tensor([1, 0, 1]), logits=torch.tensor([0.5, 0.5, -0.5]))
    assert validated(probe, [one])["class/confusion"].tolist() == [[0, 1], [1, 1]]


def test_regression_and_soft_labels_are_not_classes() -> None:
    probe = attached()
    probe.validation_start()
    probe.validation_batch(Batch(None, 0, observation=Observation(target=torch.rand(4), preds=torch.rand(4))))
    soft = Observation(target=torch.softmax(torch.randn(4, 3), 1), logits=torch.randn(4, 3))
    probe.validation_batch(Batch(None, 0, observation=soft))
    probe.validation_batch(Batch(None, 0))
    assert probe.validation_end({}) == []


def test_names_come_from_the_user_the_data_set_or_the_numbers() -> None:
    probe = attached()
    validated(probe, [Observation(target=torch.tensor([0]), logits=torch.randn(1, 2))])
    assert probe.learn(Reading(1, 0, {})) == {}, "perhaps these are no scores of classes"
    sure = Facts(class_scores=True)
    assert probe.learn(Reading(1, 0, {}, sure))["names"]["class"] == ("class 0", "class 1")
    named = attached()
    validated(named, [Observation(target=torch.tensor([0]), logits=torch.randn(1, 2))])
    facts = Facts(names={"class": ("cat", "dog")}, class_scores=True)
    assert named.learn(Reading(1, 0, {}, facts))["names"]["class"] == ("cat", "dog")


def test_a_thousand_classes_and_a_million_samples_stay_small() -> None:
    counts = ClassCounts(1000)
    assert counts.confusion.numel() == 0 and CONFUSION_CLASSES < 1000
    g = torch.Generator().manual_seed(0)
    guess, truth = torch.randint(1000, (10_000,), generator=g), torch.randint(1000, (10_000,), generator=g)
    start = time.process_time()
    for _ in range(100):
        counts.count(guess, truth)
    per_batch_s = (time.process_time() - start) / 100
    size = sum(s.numel() * s.element_size() for s in (counts.support, counts.right, counts.predicted, counts.confusion))
    assert int(counts.support.sum()) == 1_000_000 and size < 2**20
    assert per_batch_s < 0.02  # 10,000 samples; a ResNet-50 step of 64 takes seconds on the same core


def test_train_counts_leave_with_the_pass_or_after_enough_batches() -> None:
    probe = attached()
    seen = Observation(target=torch.tensor([0, 1]), logits=torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    for _ in range(64):
        assert probe.collect() == []
        probe.observed(Batch(None, 0, observation=seen))
    values: dict[str, Tensor] = dict(probe.collect())  # type: ignore[arg-type]
    assert values["class/train_support"].tolist() == [64, 64] and values["class/train_right"].tolist() == [64, 0]
    assert probe.collect() == []
