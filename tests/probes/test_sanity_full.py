"""``sanity="full"`` on real digits: planted faults and healthy twins, and nothing of the run is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import TensorDataset

from lightning_diag import Diagnostics, Finding, MemorySink, SanityMonitor
from lightning_diag.errors import ConfigurationError
from lightning_diag.probes.sanity_full import FullSanityProbe
from tests.setups import modules as m
from tests.setups.catalog import SETUPS
from tests.setups.harness import differences, train
from tests.training import TRAIN, Classifier, digits, fit, loader


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Flipped(torch.autograd.Function):
    """The identity, with a gradient of the wrong sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return -grads[0]


def net(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 32), *between, nn.ReLU(), nn.Linear(32, 10))


def shifted(made: nn.Sequential) -> nn.Sequential:
    """Give the first layer an offset that only batch statistics take away."""
    first: Any = made[0]
    nn.init.constant_(first.bias, 30.0)
    return made


class Wrong(Classifier):
    """A classifier whose loss is made in a way that can be wrong."""

    def __init__(self, made: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], lr: float = 1e-2) -> None:
        super().__init__(lr)
        self.net, self.made = made, loss  # type: ignore[assignment]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = self.made(self.net(x), y)
        self.log("train_loss", loss)
        logger: Any = self.logger
        logger.experiment.add_scalar("by_hand", loss) if logger else None
        return loss


def trained(module: pl.LightningModule, root: Path, **options: Any) -> Diagnostics:
    diag = Diagnostics([SanityMonitor(full=True)], sinks=[], strict=True)
    fit(module, [diag], root, steps=2, **options)
    return diag


def flipped(out: Tensor, y: Tensor) -> Tensor:
    found: Any = Flipped.apply(out)  # type: ignore[no-untyped-call]
    return F.cross_entropy(found, y)


FAULTS: dict[str, tuple[Callable[[], pl.LightningModule], str, str, str]] = {
    "the sign of the loss": (
        lambda: Wrong(net(), lambda out, y: -F.cross_entropy(out, y)),
        "sanity/cannot-overfit-batch", "warning", "of its predictions are right, no more than if one class",
    ),
    "a softmax too many": (
        lambda: Wrong(net(), lambda out, y: F.cross_entropy(out.softmax(1), y)),
        "sanity/cannot-overfit-batch", "warning", "of it is left (limit 50 %)",
    ),
    "dropout that leaves nothing": (
        lambda: Wrong(net(nn.Dropout(0.99)), F.cross_entropy), "sanity/cannot-overfit-batch", "warning", "it is left",
    ),
    "a learning rate that is too low": (
        lambda: Wrong(net(), F.cross_entropy, lr=1e-6), "sanity/cannot-overfit-batch", "info", "are too small",
    ),
    "a gradient of the wrong sign": (
        lambda: Wrong(net(), flipped), "sanity/wrong-gradient", "warning", "changes the loss by -1 times",
    ),
    "running statistics that stand still": (
        lambda: Wrong(shifted(net(nn.BatchNorm1d(32, momentum=1e-6))), F.cross_entropy),
        "sanity/train-eval-gap", "warning", "of what was gained is lost there",
    ),
}  # fmt: skip
HEALTHY: dict[str, Callable[[], pl.LightningModule]] = {
    "plain": lambda: Wrong(net(), F.cross_entropy),
    "batch norm": lambda: Wrong(net(nn.BatchNorm1d(32)), F.cross_entropy),
    "dropout": lambda: Wrong(net(nn.Dropout(0.3)), F.cross_entropy),
    "label smoothing": lambda: Wrong(net(), lambda out, y: F.cross_entropy(out, y, label_smoothing=0.1)),
    "a network that remembers its calls": m.Remembers,
    "a frozen body": m.FrozenBody,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_before_the_first_step(name: str, tmp_path: Path) -> None:
    made, rule, severity, words = FAULTS[name]
    found: dict[str, Finding] = {f.rule: f for f in trained(made(), tmp_path).findings}
    assert words in found[rule].message and str(found[rule].severity) == severity and found[rule].step == 1


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_twin_is_silent_and_was_judged(name: str, tmp_path: Path) -> None:
    diag = trained(HEALTHY[name](), tmp_path)
    assert diag.findings == []
    assert {"sanity/cannot-overfit-batch", "sanity/wrong-gradient"} <= set(diag.diagnosis.coverage.ran)


def test_labels_that_belong_to_other_inputs(tmp_path: Path) -> None:
    x, y = (t[:TRAIN] for t in digits())
    other = TensorDataset(x, y[torch.randperm(TRAIN, generator=torch.Generator().manual_seed(0))])
    data = torch.utils.data.DataLoader(other, batch_size=128, shuffle=True)
    rules = [f.rule for f in trained(Wrong(net(), F.cross_entropy), tmp_path, train=data).findings]
    assert rules == ["sanity/random-labels-as-easy"]
    assert trained(Wrong(net(), F.cross_entropy), tmp_path, train=loader(batch_size=128)).findings == []


IDENTICAL = (
    "automatic optimization", "a learning rate scheduler", "accumulation of 3 batches", "bf16-mixed",
    "batch norm, operations in place", "a network that remembers its calls", "clipping by norm", "LBFGS",
)  # fmt: skip


@pytest.mark.parametrize("name", IDENTICAL)
def test_bit_identical(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FullSanityProbe.__init__, "__defaults__", (20, 60.0))
    sink = MemorySink()
    bare = train(SETUPS[name], [], tmp_path / "bare")
    diag = Diagnostics(sanity="full", strict=True, sinks=[sink])
    watched = train(SETUPS[name], [diag], tmp_path / "watched")
    for part in ("weights", "streams", "logged", "checkpoint"):
        assert differences(getattr(bare, part), getattr(watched, part), part) == []
    assert "sanity/cannot-overfit-batch" in diag.diagnosis.coverage.ran
    curves = next(r for r in sink.readings if "sanity/fit_loss" in r)
    assert curves.values["sanity/fit_loss"].shape == (len(curves.names("curve")), 20)


@pytest.mark.filterwarnings("ignore:.*returned .None.")
def test_where_nothing_can_be_tried_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(name: str) -> str:
        diag = Diagnostics(
            sanity="full", strict=True, sinks=[], select=["sanity/cannot-overfit-batch", "sanity/wrong*"]
        )
        train(SETUPS[name], [diag], tmp_path)
        assert diag.diagnosis.coverage.ran == ()
        return diag.diagnosis.coverage.skipped["sanity/cannot-overfit-batch"]

    made = Wrong(net(), F.cross_entropy)
    forward: Any = made.net.forward
    made.net.forward = lambda x: forward(x)  # type: ignore[method-assign]
    coverage = trained(made, tmp_path).diagnosis.coverage
    assert "still calls the original" in coverage.skipped["sanity/cannot-overfit-batch"]
    assert "manual optimization" in reason("a GAN with toggle_optimizer")
    assert "a copy hasn't got" in reason("16-mixed with a gradient scaler")
    assert reason("no optimizer") == "no optimizer holds a trainable parameter"
    monkeypatch.setattr(FullSanityProbe.__init__, "__defaults__", (200, 1e-9))
    assert "200 steps on one batch take more than 1e-09 s" in reason("automatic optimization")
    with pytest.raises(ConfigurationError, match="sanity must be 'quick' or 'full', got 'fully'"):
        Diagnostics(sanity="fully")  # type: ignore[arg-type]
