"""Planted faults on real digits, each with its healthy twin: what is found and where, and what can't be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Diagnostics, Finding, SanityMonitor
from lightning_diag.probes.sanity import SanityProbe
from lightning_diag.probes.sanity_calls import cut_calls
from lightning_diag.probes.sanity_rows import input_effect, mixing
from tests.training import TRAIN, Classifier, digits, fit

EPOCH = 24  # steps


class Net(nn.Module):
    """Two layers with something in between."""

    def __init__(self, between: Callable[[Tensor], Tensor] = torch.relu, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(64, 32), norm or nn.Identity(), nn.Linear(32, 10)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.between(self.norm(self.body(x))))
        return out


class Rows(nn.Module):
    """An LSTM over the rows of a digit."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(8, 32, batch_first=batch_first), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(x.view(-1, 8, 8))[0][:, -1])
        return out


class Pairs(nn.Module):
    """Similarities of all pairs of samples, as contrastive losses take them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        z = F.normalize(self.body(x), dim=1)
        return 10 * z @ z.T


class Own(Classifier):
    """Calls ``forward`` of the user's module; ``net`` is called by the base."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.cross_entropy(self(x), y)


class Contrastive(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, _ = batch
        return F.cross_entropy(self.net(x), torch.arange(len(x)))

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        pass


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def patched(net: Net) -> Net:
    """Replace the forward pass by a function that keeps the network itself in its closure."""
    forward = net.forward
    net.forward = lambda x: forward(x)  # type: ignore[method-assign]
    return net


def zeroed(net: Net) -> Net:
    nn.init.zeros_(net.head.weight)
    return net


def trained(net: nn.Module, root: Path, steps: int = EPOCH, kind: Any = Classifier, **options: Any) -> Diagnostics:
    module = kind()
    module.net = net
    diag = Diagnostics([SanityMonitor()], every_n_steps=1, sinks=[], strict=True)
    fit(module, [diag], root, steps=steps, **options)
    return diag


def only(diag: Diagnostics) -> Finding:
    (found,) = diag.findings
    return found


FAULTS: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...], str]] = {
    "a view that mixes samples": (
        lambda: Net(lambda h: h.relu().view(h.shape[1], h.shape[0]).T),
        "sanity/batch-mixing", ("net",), "they mix in net, before net.head",
    ),
    "a softmax over the samples": (
        lambda: Net(norm=nn.Softmax(0)), "sanity/batch-mixing", ("net.norm",), "they mix in net.norm",
    ),
    "an LSTM that takes the batch for time": (
        lambda: Rows(batch_first=False), "sanity/batch-mixing", ("net.rnn",), "they mix in net.rnn",
    ),
    "a head that ignores its input": (
        lambda: Net(lambda h: h * 0 + 1), "sanity/input-ignored", ("net",), "the input is lost in net, before net.head",
    ),
    "a layer that forgets its input": (
        lambda: Net(norm=nn.Threshold(1e6, 0.0)), "sanity/input-ignored", ("net.norm",), "is lost in net.norm",
    ),
}  # fmt: skip
HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "plain": Net,
    "a last layer that starts at zero": lambda: zeroed(Net()),
    "batch norm": lambda: Net(norm=nn.BatchNorm1d(32)),
    "dropout": lambda: Net(norm=nn.Dropout(0.5)),
    "an LSTM with batch_first": lambda: Rows(batch_first=True),
    "noise": lambda: Net(lambda h: torch.relu(h + torch.randn_like(h))),
    "weights that the forward pass writes": lambda: Net(
        norm=nn.utils.parametrizations.spectral_norm(nn.Linear(32, 32))
    ),
}


@pytest.mark.parametrize("kind", [Classifier, Own])
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_in_the_first_epoch_and_named(name: str, kind: Any, tmp_path: Path) -> None:
    net, rule, where, words = FAULTS[name]
    found = only(trained(net(), tmp_path, kind=kind))
    assert found.rule == rule and found.where == where and found.last_step <= EPOCH
    assert words in found.message and str(found.severity) == "info"  # no step of this run has had the time to fail


@pytest.mark.parametrize("name", ["a view that mixes samples", "a head that ignores its input"])
def test_a_run_that_suffers_is_warned_of(name: str, tmp_path: Path) -> None:
    assert str(only(trained(FAULTS[name][0](), tmp_path, steps=100)).severity) == "warning"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_twin_is_silent_and_was_judged(name: str, tmp_path: Path) -> None:
    diag = trained(HEALTHY[name](), tmp_path)
    assert diag.findings == []
    assert diag.diagnosis.coverage.ran == ("sanity/batch-mixing", "sanity/input-ignored")


def test_what_mixes_by_design_is_said(tmp_path: Path) -> None:
    normed = trained(Net(norm=nn.BatchNorm1d(32, track_running_stats=False)), tmp_path)
    reason = "net.norm normalizes over the batch in evaluation mode: samples mix by design"
    assert normed.findings == [] and normed.diagnosis.coverage.skipped == {"sanity/batch-mixing": reason}
    rng = np.random.default_rng(0)
    noisy = trained(Net(lambda h: h + torch.tensor(rng.normal(size=h.shape), dtype=h.dtype)), tmp_path)
    reason = "two calls with the same input differ: random numbers of its own?"
    assert noisy.findings == [] and noisy.diagnosis.coverage.skipped == {"sanity/batch-mixing": reason}
    paired = trained(Pairs(), tmp_path, kind=Contrastive)
    assert paired.findings == []
    assert "it compares samples by design" in paired.diagnosis.coverage.skipped["sanity/batch-mixing"]


class Stubborn(Net):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training and not torch.is_grad_enabled():
            raise ValueError("only in training, please")
        return super().forward(x)


def lists(batch: list[Any]) -> Any:
    return torch.stack([x for x, _ in batch]), torch.stack([y for _, y in batch])


def test_where_nothing_can_be_measured_the_reason_is_said(tmp_path: Path) -> None:
    def reason(net: nn.Module, **options: Any) -> str:
        coverage = trained(net, tmp_path, steps=5, **options).diagnosis.coverage
        assert coverage.ran == ()
        (text,) = set(coverage.skipped.values())
        return text

    x, y = (t[:TRAIN] for t in digits())
    data = TensorDataset(x, y)
    options: dict[str, Any] = {"val": [], "limit_val_batches": 0}
    assert "net fails when it is called again: ValueError: only in training" in reason(Stubborn(), **options)
    net = patched(Net(norm=nn.BatchNorm1d(32)))
    assert "a copy of Net still calls the original" in reason(net)
    assert int(net.norm.num_batches_tracked) == 5  # type: ignore[arg-type]
    assert reason(Net(), train=DataLoader(data, batch_size=1), **options) == "a batch has one sample only"
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 64, 8)]
    assert "the loader doesn't say" in reason(Net(), train=DataLoader(batches, batch_size=None), **options)  # type: ignore[arg-type]


def test_it_looks_once_where_nothing_is_odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = SanityProbe._look

    def look(self: SanityProbe) -> Any:
        looks.append(self._samples)
        return real(self)

    monkeypatch.setattr(SanityProbe, "_look", look)
    trained(Net(), tmp_path)
    assert looks == [1]
    looks.clear()
    trained(FAULTS["a view that mixes samples"][0](), tmp_path)
    assert looks == [1, 4, 10]


def test_targets_stay_with_their_samples() -> None:
    """A module that is given the labels, too, may not be taken to read its input."""

    class Both(nn.Linear):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x) * 0 + y[:, None].float()

    module, x, y = Both(3, 2), torch.randn(8, 3), torch.arange(8)
    (cut,) = cut_calls(module, [(module, (x, y), {})], (x, y), {8})
    (one, labels), _ = cut.changed([1, 1, 2, 3])
    assert torch.equal(one[0], x[1]) and torch.equal(labels, y[:4])
    with torch.no_grad():
        assert float(input_effect(module(*cut.changed([0, 1, 2, 3])[0]), module(one, labels))) == 0.0


def test_kernels_say_nan_where_there_is_nothing_to_compare() -> None:
    zeros, ones = torch.zeros(4, 2), torch.ones(4, 2)
    assert input_effect("text", "text").isnan() and input_effect(ones, torch.ones(3, 2)).isnan()
    assert input_effect(ones * torch.nan, ones).isnan()
    assert float(input_effect(zeros, zeros)) == 0.0
    assert mixing(ones, ones, 4).isnan() and mixing(ones, ones, 3).isnan()
    assert float(mixing({"logits": zeros, "loss": zeros[0, 0]}, {"logits": ones, "loss": zeros[0, 0]}, 4)) == 1.0
