from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lightning_diag.observation import Observation
from lightning_diag.packet import Packet
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.reading import Facts, Reading

CLASSES = 5


def learned(make: Callable[[torch.Generator], Batch], steps: int = 30, precision: str = "32-true") -> dict[str, Any]:
    probe = ChanceProbe()
    probe.attach(Scene(torch.nn.Identity(), [], Facts(precision=precision)))
    generator = torch.Generator().manual_seed(0)
    known: dict[str, Any] = {}
    for step in range(steps):
        probe.observed(make(generator))
        packet = Packet.pack(step, 0, step, "train", probe.collect())
        known.update(probe.learn(Reading(step, 0, packet.unpack(packet.flat.numpy()))))
    return known


def labels(g: torch.Generator, n: int = 256) -> Tensor:
    return torch.multinomial(torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1]), n, replacement=True, generator=g)


ENTROPY = -(0.6 * np.log(0.6) + 4 * 0.1 * np.log(0.1))


def classification(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[torch.Generator], Batch]:
    def make(g: torch.Generator) -> Batch:
        y, logits = labels(g), torch.randn(256, CLASSES, generator=g)
        return Batch(None, 0, loss=loss(logits, y), observation=Observation(target=y, logits=logits))

    return make


def test_cross_entropy() -> None:
    known = learned(classification(F.cross_entropy))
    assert known["loss_kind"] == "cross-entropy" and known["num_classes"] == CLASSES
    assert known["chance_loss"] == pytest.approx(ENTROPY, rel=0.03)
    assert known["loss_floor"] == 0.0 and known["task"] == "classification"


def test_cross_entropy_summed() -> None:
    known = learned(classification(lambda o, y: F.cross_entropy(o, y, reduction="sum")))
    assert known["loss_kind"] == "cross-entropy (sum)"
    assert known["chance_loss"] == pytest.approx(256 * ENTROPY, rel=0.03)


def test_label_smoothing_is_solved_for_and_has_a_floor() -> None:
    known = learned(classification(lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1)))
    assert known["loss_kind"] == "cross-entropy (label smoothing 0.1)"
    smoothed = torch.full((CLASSES,), 0.02).scatter(0, torch.tensor(0), 0.92)
    assert known["loss_floor"] == pytest.approx(float(torch.special.entr(smoothed).sum()), rel=1e-3)
    assert ENTROPY < known["chance_loss"] < np.log(CLASSES)


def test_ignored_labels_do_not_count() -> None:
    def make(g: torch.Generator) -> Batch:
        y, logits = labels(g), torch.randn(256, CLASSES, generator=g)
        y[:100] = -100
        return Batch(None, 0, loss=F.cross_entropy(logits, y), observation=Observation(target=y, logits=logits))

    assert learned(make)["loss_kind"] == "cross-entropy"


def test_squared_and_absolute_error_and_binary() -> None:
    def batch(loss: Callable[[Tensor, Tensor], Tensor], binary: bool = False) -> Callable[[torch.Generator], Batch]:
        def make(g: torch.Generator) -> Batch:
            y = 3 * torch.randn(512, 2, generator=g) + 10
            y = (torch.rand(512, 2, generator=g) < 0.2).float() if binary else y
            o = torch.randn(512, 2, generator=g)
            return Batch(None, 0, loss=loss(o, y), observation=Observation(target=y, preds=o))

        return make

    squared = learned(batch(F.mse_loss))
    assert squared["loss_kind"] == "mse" and squared["chance_loss"] == pytest.approx(9, rel=0.05)
    absolute = learned(batch(F.l1_loss))
    assert absolute["loss_kind"] == "l1" and absolute["chance_loss"] == pytest.approx(3 * (2 / np.pi) ** 0.5, rel=0.08)
    binary = learned(batch(F.binary_cross_entropy_with_logits, binary=True))
    want = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    assert binary["loss_kind"] == "bce" and binary["chance_loss"] == pytest.approx(want, rel=0.05)


def test_an_autoencoder_is_judged_against_the_mean_input() -> None:
    def make(g: torch.Generator) -> Batch:
        x = torch.randn(128, 3, 4, generator=g) * 2 + 5
        out = torch.randn(128, 12, generator=g)
        loss = F.mse_loss(out.reshape(x.shape), x)
        return Batch((x, torch.zeros(128, dtype=torch.long)), 0, loss=loss, captured=[out])

    known = learned(make)
    assert known["loss_kind"] == "reconstruction mse" and known["task"] == "regression"
    assert known["chance_loss"] == pytest.approx(4, rel=0.05)


def test_an_unknown_loss_stays_unknown() -> None:
    assert learned(classification(lambda o, y: F.cross_entropy(o, y) + 0.3)) == {"class_scores": True}
    assert learned(classification(lambda o, y: torch.tensor(float("nan")))) == {"class_scores": True}


def coverage(width: int, count: int = 70, size: int = 64, first: int = 0) -> dict[str, Any]:
    """What is learned of outputs ``(B, width)`` beside labels ``first`` to ``first + 9``, under a loss of its own."""

    def make(g: torch.Generator) -> Batch:
        y, out = torch.randint(first, first + 10, (size,), generator=g), torch.randn(size, width, generator=g)
        return Batch(None, 0, loss=out.square().sum(), observation=Observation(target=y, logits=out, guessed=True))

    return learned(make, count)


def test_outputs_beside_labels_are_scores_of_them_where_nearly_every_class_was_a_target() -> None:
    assert coverage(10, 3) == coverage(11, 20) == {"class_scores": True}
    assert coverage(64, 60) == {}, "perhaps the others come"
    assert coverage(64) == coverage(16) == {"class_scores": False}
    assert coverage(4) == {"class_scores": False}, "labels beyond the last"
    assert coverage(1000, size=16) == {}, "too few labels to say"


def test_scores_are_known_where_every_label_is_the_same() -> None:
    def make(g: torch.Generator) -> Batch:
        y, out = torch.zeros(64, dtype=torch.long), torch.randn(64, 2, generator=g)
        seen = Observation(target=y, logits=out, guessed=True)
        return Batch(None, 0, loss=F.cross_entropy(out, y), observation=seen)

    assert learned(make, 5) == {"class_scores": True}, "there is no chance level, but the loss is of these labels"


def test_smoothing_is_not_taken_for_plain_cross_entropy_while_logits_are_flat() -> None:
    def make(g: torch.Generator) -> Batch:
        y, logits = labels(g), 0.05 * torch.randn(256, CLASSES, generator=g)
        loss = F.cross_entropy(logits, y, label_smoothing=0.1)
        return Batch(None, 0, loss=loss, observation=Observation(target=y, logits=logits))

    assert learned(make).get("loss_kind") != "cross-entropy"


def test_once_it_had_its_chance_only_every_tenth_batch_is_recomputed() -> None:
    probe, generator = ChanceProbe(), torch.Generator().manual_seed(0)
    probe.attach(Scene(torch.nn.Identity(), [], Facts()))
    made = []
    for step in range(1, 101):
        probe.observed(classification(F.cross_entropy)(generator))
        if probe.collect():
            made.append(step)
    assert made == [*range(1, 65), 70, 80, 90, 100]
