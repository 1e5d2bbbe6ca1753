"""ActivationMonitor end to end: real trainings of digits, healthy and broken, and runs that are not changed by it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from lightning_diag.finding import Severity
from lightning_diag.monitors.activation import ActivationMonitor
from lightning_diag.monitors.diagnostics import Diagnostics
from lightning_diag.monitors.gradient import GradientMonitor
from lightning_diag.monitors.stability import StabilityMonitor
from lightning_diag.sinks.memory import MemorySink
from tests.training import Classifier, fit

STEPS = 110


class Net(Classifier):
    """A classifier around any network over 64 pixels."""

    def __init__(self, net: nn.Module, lr: float = 1e-3) -> None:
        super().__init__(lr=lr)
        self.net = net  # type: ignore[assignment]


def mlp(act: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 64), act(), nn.Dropout(dropout), nn.Linear(64, 64), act(), nn.Linear(64, 10)
    )  # fmt: skip


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc3(F.relu(self.fc2(F.dropout(F.relu(self.fc1(x)), 0.2, self.training))))
        return out


class Conv(nn.Module):
    """One in-place ReLU for all layers, the body recomputed in backward if asked for."""

    def __init__(self, recompute: bool | None = None) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.relu, self.drop = nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.3)
        self.head, self.recompute = nn.Linear(128, 10), recompute

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop(self.relu(self.two(self.relu(self.norm(self.one(x))))))
        return out

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 8, 8).requires_grad_(self.recompute is True)
        h = self.body(x) if self.recompute is None else checkpoint(self.body, x, use_reentrant=self.recompute)
        out: Tensor = self.head(F.max_pool2d(h, 2).flatten(1))
        return out


class Rows(nn.Module):
    """A transformer over the 8 rows of an image."""

    def __init__(self, gain: float = 1.0, width: int = 32) -> None:
        super().__init__()
        self.map, self.place = nn.Linear(8, width), nn.Parameter(torch.randn(8, width))
        block = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2)
        self.head = nn.Linear(width, 10)
        with torch.no_grad():
            for each in self.blocks.layers:
                each.self_attn.in_proj_weight[: 2 * width] *= gain

    def forward(self, x: Tensor) -> Tensor:
        h = self.blocks(self.map(x.view(-1, 8, 8)) + self.place)
        out: Tensor = self.head(h.mean(1))
        return out


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.cell(x.view(-1, 8, 8))[0][:, -1])
        return out


def watch(module: Classifier, root: Path, **trainer: Any) -> tuple[Diagnostics, MemorySink]:
    sink = MemorySink()
    monitors = [GradientMonitor(), StabilityMonitor(), ActivationMonitor()]
    diag = Diagnostics(monitors, every_n_steps=1, strict=True, sinks=[sink])
    fit(module, [diag], root, steps=STEPS, **trainer)
    return diag, sink


def said(diag: Diagnostics) -> dict[str, Any]:
    return {f.rule: f for f in diag.findings if f.rule.startswith("activations/")}


HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "mlp, dropout": lambda: mlp(dropout=0.5),
    "functional": Functional,
    "tanh": lambda: mlp(nn.Tanh),
    "gelu": lambda: mlp(nn.GELU),
    "convolution": Conv,
    "transformer": Rows,
    "lstm": LSTM,
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_are_left_alone(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    diag, sink = watch(Net(HEALTHY[name](), lr=3e-3), tmp_path)
    assert said(diag) == {}
    assert {"activations/collapsed", "activations/non-finite"} <= set(diag.diagnosis.coverage.ran)
    last = [r for r in sink.readings if "activation/mean" in r][-1]
    assert len(last.names("module")) == len(last.vector("activation/mean"))  # type: ignore[arg-type]


def bias(net: nn.Sequential) -> nn.Module:
    nn.init.constant_(net[3].bias, -25.0)  # type: ignore[arg-type]
    return net


def zero(net: nn.Module) -> nn.Module:
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return net


def functional_bias() -> nn.Module:
    net = Functional()
    nn.init.constant_(net.fc2.bias, -25.0)
    return net


BROKEN: dict[str, tuple[Callable[[], nn.Module], str, str, Severity]] = {
    "bias": (lambda: bias(mlp()), "activations/dead", "net.4", Severity.CRITICAL),
    "functional bias": (functional_bias, "activations/dead", "net.fc3 (input)", Severity.CRITICAL),
    "zero": (lambda: zero(mlp(nn.GELU)), "activations/collapsed", "net.1", Severity.CRITICAL),
}


@pytest.mark.parametrize("name", BROKEN)
def test_planted_faults_are_found_at_their_module(name: str, tmp_path: Path) -> None:
    make, rule, where, severity = BROKEN[name]
    torch.manual_seed(0)
    diag, _ = watch(Net(make()), tmp_path)
    found = said(diag)[rule]
    assert found.where[0] == where
    assert found.severity is severity


class Scaled(Net):
    """Inputs in the hundreds: a forgotten division."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step((300 * batch[0], batch[1]), batch_idx)


def test_inputs_times_300_saturate_the_first_tanh(tmp_path: Path) -> None:
    torch.manual_seed(0)
    diag, _ = watch(Scaled(mlp(nn.Tanh)), tmp_path)
    assert said(diag)["activations/saturated"].where[0] == "net.1"


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_a_large_query_key_gain_collapses_attention(tmp_path: Path) -> None:
    torch.manual_seed(0)
    diag, _ = watch(Net(Rows(30.0)), tmp_path)
    assert set(said(diag)["activations/attention-collapsed"].where) <= {
        "net.blocks.layers.0.self_attn",
        "net.blocks.layers.1.self_attn",
    }


class Poisoned(Net):
    """A module that breaks in the middle of training."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 50:
            with torch.no_grad():
                self.net.get_parameter("3.weight")[0, 0] = float("nan")
        return super().training_step(batch, batch_idx)


def test_a_module_that_turns_nan_is_named_at_that_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    diag, _ = watch(Poisoned(mlp()), tmp_path)
    found = said(diag)["activations/non-finite"]
    assert (found.where[0], found.first_step, found.severity) == ("net.4", 51, Severity.CRITICAL)


SAME: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: mlp(dropout=0.5),
    "functional": Functional,
    "in-place, shared": Conv,
    "checkpoint": lambda: Conv(recompute=False),
    "reentrant checkpoint": lambda: Conv(recompute=True),
    "transformer": Rows,
    "compiled": lambda: torch.compile(Conv(), backend="eager"),  # type: ignore[return-value, dict-item]
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("name", SAME)
def test_weights_losses_and_random_numbers_are_bit_identical(name: str, tmp_path: Path) -> None:
    results: list[Any] = []
    for callbacks in ([], [Diagnostics([ActivationMonitor()], every_n_steps=1, strict=True, sinks=[])]):
        torch._dynamo.reset()
        torch.manual_seed(3)
        module = Net(SAME[name]())
        trainer = fit(module, callbacks, tmp_path / str(len(results)), steps=50)
        logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
        results.append((module.state_dict(), torch.get_rng_state(), logged))
    bare, watched = results
    assert bare[0].keys() == watched[0].keys()
    for key, weight in bare[0].items():
        assert torch.equal(weight, watched[0][key]), key
    assert torch.equal(bare[1], watched[1])
    assert bare[2] == watched[2]
    assert "val_loss" in bare[2]


def test_checkpointing_counts_no_module_twice(tmp_path: Path) -> None:
    rows = []
    for recompute in (None, False, True):
        torch.manual_seed(0)
        sink = MemorySink()
        diag = Diagnostics([ActivationMonitor()], every_n_steps=1, strict=True, sinks=[sink])
        fit(Net(Conv(recompute)), [diag], tmp_path, steps=12)
        reading = [r for r in sink.readings if "activation/window_samples" in r][9]
        seen = reading.vector("activation/window_samples")
        assert seen is not None
        rows.append(dict(zip(reading.names("module"), seen, strict=True))["net.relu"])
    assert rows[0] == rows[1] == rows[2]


def test_a_compiled_network_is_reported_as_not_observed(tmp_path: Path) -> None:
    torch._dynamo.reset()
    module = Net(torch.compile(Conv(), backend="eager"))  # type: ignore[arg-type]
    diag, _ = watch(module, tmp_path)
    assert said(diag) == {}
    for rule in ("dead", "saturated", "non-finite", "collapsed"):
        assert "compiled region" in diag.diagnosis.coverage.skipped[f"activations/{rule}"]


def test_include_and_exclude_reach_the_probe(tmp_path: Path) -> None:
    sink = MemorySink()
    diag = Diagnostics([ActivationMonitor(include=["*ReLU", "net.3"], exclude=["net.1"])], strict=True, sinks=[sink])
    fit(Net(mlp()), [diag], tmp_path, steps=3)
    assert set(sink.readings[-1].names("module")) == {"net.3 (input)", "net.3", "net.4"}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_every_precision_is_measured(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sink = MemorySink()
    diag = Diagnostics([ActivationMonitor()], every_n_steps=1, strict=True, sinks=[sink])
    fit(Net(Rows()), [diag], tmp_path, steps=24, precision=precision)
    last = [r for r in sink.readings if "activation/mean" in r][-1]
    names = last.names("module")
    for signal, name in (("std", "net.head"), ("dead_frac", "net.blocks.layers.0.linear2 (input)"),
                         ("attention_entropy", "net.blocks.layers.1.self_attn")):  # fmt: skip
        value = last.vector(f"activation/{signal}")
        assert value is not None
        assert value[names.index(name)] >= 0


class Averaged(Net):
    """Keeps a moving average of itself, as EMA callbacks do: a deep copy in the middle of a sampled step."""

    teacher: nn.Module | None = None

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.teacher is None:
            object.__setattr__(self, "teacher", copy.deepcopy(self.net))
        assert self.teacher is not None
        self.teacher(batch[0])
        return super().training_step(batch, batch_idx)


def test_a_copy_of_the_network_is_not_measured(tmp_path: Path) -> None:
    sink = MemorySink()
    diag = Diagnostics([ActivationMonitor()], every_n_steps=1, strict=True, sinks=[sink])
    fit(Averaged(mlp()), [diag], tmp_path, steps=3)
    seen = [r for r in sink.readings if "activation/mean" in r][-1].vector("activation/window_samples")
    assert seen is not None
    assert set(seen[~torch.isnan(torch.tensor(seen)).numpy()]) == {3 * 64}


def test_alone_it_runs_and_leaves_no_hook(tmp_path: Path) -> None:
    monitor = ActivationMonitor()
    module = Net(mlp())
    fit(module, [monitor], tmp_path, steps=20)
    assert "activations/non-finite" in monitor.diagnosis.coverage.ran
    assert all(not m._forward_hooks for m in module.modules())


def test_time_inside_the_users_forward_counts_as_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_diag.probes.activation_recorder import Recorder

    def slow(*_: Any) -> None:
        time.sleep(0.004)

    monkeypatch.setattr(Recorder, "activation", slow)
    diag = Diagnostics([ActivationMonitor()], every_n_steps=1, strict=True, sinks=[])
    fit(Classifier(), [diag], tmp_path, steps=10)
    session = diag._session
    assert session is not None and session.schedule.spent_s >= 10 * 0.004
