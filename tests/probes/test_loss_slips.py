"""Each slip is recognized by its own number, and no right loss is taken for one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lightning_diag.detectors.loss_mismatched import SLIPS as KNOWN
from lightning_diag.observation import Observation
from lightning_diag.packet import Packet
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.loss_slips import ENOUGH, LARGEST, MOST, SLIPS, LossSlipProbe
from lightning_diag.reading import Facts, Reading

Loss = Callable[[Tensor, Tensor], Tensor]
Outputs = Callable[[Tensor], Tensor]


def matched(output: Tensor, target: Tensor, loss: Tensor, precision: str = "32-true", batches: int = 1) -> set[str]:
    """Slips whose loss is that of the batch."""
    probe = LossSlipProbe()
    probe.attach(Scene(torch.nn.Identity(), [], Facts(precision=precision)))
    classes = not target.is_floating_point()
    seen = Observation(target=target, logits=output if classes else None, preds=None if classes else output)
    for _ in range(batches):
        probe.observed(Batch(None, 0, loss=loss, observation=seen))
    packet = Packet.pack(1, 0, 0, "train", probe.collect())
    errors = Reading(1, 0, packet.unpack(packet.flat.numpy())).vector("loss/slip")
    return set() if errors is None else {s for s, e in zip(SLIPS, errors, strict=True) if e <= 1e-4}


def drawn(classes: int = 5, n: int = 64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return 2 * torch.randn(n, classes, generator=g), torch.randint(0, classes, (n,), generator=g)


def plain(o: Tensor) -> Tensor:
    return o


def probabilities(o: Tensor) -> Tensor:
    return o.softmax(1)


@pytest.mark.parametrize(("made", "loss", "slip"), [
    (plain, lambda o, y: F.cross_entropy(o.softmax(1), y), "double softmax"),
    (probabilities, F.cross_entropy, "softmax of probabilities"),
    (plain, lambda o, y: F.cross_entropy(o.sigmoid(), y), "softmax of sigmoids"),
    (torch.sigmoid, F.cross_entropy, "sigmoids as scores"),
    (plain, F.nll_loss, "likelihood of scores"),
    (plain, lambda o, y: F.nll_loss(o.softmax(1), y), "likelihood of probabilities"),
    (probabilities, F.nll_loss, "likelihood of probabilities"),
    (lambda o: o.log_softmax(0), F.nll_loss, "softmax over the batch"),
    (lambda o: o.softmax(0), F.cross_entropy, "softmax over the batch"),
])  # fmt: skip
def test_slips_of_several_classes(made: Outputs, loss: Loss, slip: str) -> None:
    output, target = drawn()
    assert matched(made(output), target, loss(made(output), target)) == {slip}


@pytest.mark.parametrize("loss", [
    F.cross_entropy,
    lambda o, y: F.nll_loss(o.log_softmax(1), y),
    lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1),
    lambda o, y: F.cross_entropy(o, y, reduction="sum"),
    lambda o, y: F.cross_entropy(o / 2, y),  # a temperature
    lambda o, y: F.cross_entropy(o, y, weight=torch.arange(1.0, 6.0)),
    lambda o, y: 0.7 * F.cross_entropy(o, y) + 0.3 * F.cross_entropy(o, y.flip(0)),  # mixed targets
    lambda o, y: 0.5 * F.cross_entropy(o, y) + 0.5 * F.kl_div(o.log_softmax(1), o.flip(0).softmax(1), reduction="sum"),
    lambda o, y: F.mse_loss(o, F.one_hot(y, 5).float()),
    lambda o, y: F.binary_cross_entropy_with_logits(o, F.one_hot(y, 5).float()),
    lambda o, y: F.multi_margin_loss(o, y),
    lambda o, y: ((1 - (-F.cross_entropy(o, y, reduction="none")).exp()) ** 2).mean(),  # focal weights alone
])  # fmt: skip
def test_right_losses_of_several_classes_are_none(loss: Loss) -> None:
    output, target = drawn()
    assert matched(output, target, loss(output, target)) == set()


def test_the_likelihood_of_logarithms_of_probabilities_is_right() -> None:
    output, target = drawn()
    logs = output.log_softmax(1)
    assert matched(logs, target, F.nll_loss(logs, target)) == set()
    assert matched(logs, target, F.cross_entropy(logs, target)) == set()


def test_equal_scores_tell_nothing() -> None:
    output, target = torch.zeros(64, 5), drawn()[1]
    assert matched(output, target, F.cross_entropy(output, target)) == set()
    assert matched(output, target, F.cross_entropy(output.softmax(1), target)) == set()


def test_ignored_targets_and_dense_ones() -> None:
    g = torch.Generator().manual_seed(1)
    output, target = torch.randn(4, 5, 6, generator=g), torch.randint(0, 5, (4, 6), generator=g)
    target[0] = -100
    assert matched(output, target, F.cross_entropy(output.softmax(1), target)) == {"double softmax"}
    assert matched(output, target, F.cross_entropy(output, target)) == set()


def binary(n: int = 64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return 2 * torch.randn(n, 3, generator=g), (torch.rand(n, 3, generator=g) < 0.3).float()


@pytest.mark.parametrize(("made", "loss", "slip"), [
    (plain, lambda o, y: F.binary_cross_entropy_with_logits(o.sigmoid(), y), {"double sigmoid"}),
    (torch.sigmoid, F.binary_cross_entropy_with_logits, {"sigmoids as logits"}),
    (torch.sigmoid, F.binary_cross_entropy, set()),
    (plain, F.binary_cross_entropy_with_logits, set()),
    (plain, lambda o, y: F.binary_cross_entropy(o.sigmoid(), y), set()),
    (plain, F.mse_loss, set()),
])  # fmt: skip
def test_slips_of_yes_and_no(made: Outputs, loss: Loss, slip: set[str]) -> None:
    output, target = binary()
    assert matched(made(output), target, loss(made(output), target)) == slip


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_column_against_a_row() -> None:
    g = torch.Generator().manual_seed(0)
    output, target = torch.randn(32, 1, generator=g), 3 + torch.randn(32, generator=g)
    assert matched(output.reshape(32), target, F.mse_loss(output, target)) == {"broadcast mse"}
    assert matched(output.reshape(32), target, F.mse_loss(output[:, 0], target)) == set()
    assert matched(output[:1, 0], target[:1], F.mse_loss(output[:1], target[:1])) == set()
    constant = torch.full((32, 1), 0.5)
    assert matched(constant[:, 0], target, F.mse_loss(constant[:, 0], target)) == set()


def test_half_precision_rounds() -> None:
    output, target = drawn(n=256)
    rounded = output.softmax(1).bfloat16()
    loss = F.cross_entropy(rounded.float(), target)
    assert matched(rounded, target, loss, precision="bf16-true") == {"softmax of probabilities"}


def test_it_looks_at_the_first_batches_alone_and_not_at_very_many_scores() -> None:
    output, target = drawn()
    probe = LossSlipProbe()
    for kind, most in ((None, MOST), ("cross-entropy", ENOUGH)):
        probe.attach(Scene(torch.nn.Identity(), [], Facts()))
        made = 0
        for step in range(2 * MOST):
            seen = Observation(target=target, logits=output)
            probe.observed(Batch(None, 0, loss=torch.tensor(1.0), observation=seen))
            made += bool(probe.collect())
            probe.learn(Reading(step, 0, {}, Facts(loss_kind=kind)))
        assert made == most
    wide = torch.zeros(1, LARGEST + 1)
    assert matched(wide, torch.zeros(1, dtype=torch.long), torch.tensor(1.0)) == set()


def test_every_slip_has_words() -> None:
    assert set(KNOWN) == set(SLIPS)
    assert np.all([slip.what and slip.do for slip in KNOWN.values()])
