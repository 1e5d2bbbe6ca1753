"""Strategies that need a GPU, as far as they reach us: stand-ins with their names and what Lightning makes of them.

Lightning hands the module to DeepSpeed's engine and keeps that as ``strategy.model``; the optimizer is the engine's, no
``torch.optim.Optimizer``, with the user's in ``.optimizer``; gradients are gone after its step, and
``engine.get_global_grad_norm()`` is what is left of them. FSDP1 shards parameters that it has flattened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from lightning_diag import Diagnostics, MemorySink
from tests.setups.harness import Setup, differences, train, training
from tests.setups.modules import Plain


class ZeroOptimizer:
    """Steps on gradients of its own: those of the parameters are taken away."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.norm: Tensor | None = None
        self.defaults: dict[str, Any] = {}
        self.state: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> None:
        closure()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf"))
        self.optimizer.step()
        for parameter in parameters:
            parameter.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()


class Engine(nn.Module):
    def __init__(self, module: nn.Module, optimizer: ZeroOptimizer) -> None:
        super().__init__()
        self.module, self.zero = module, optimizer

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def get_global_grad_norm(self) -> Tensor | None:
        return self.zero.norm


class DeepSpeedStrategy(SingleDeviceStrategy):
    """Named as Lightning's own, whose constructor needs the package and whose setup a GPU."""

    engine: type[nn.Module] = Engine

    def __init__(self) -> None:
        super().__init__(device="cpu")

    def setup(self, trainer: Any) -> None:
        super().setup(trainer)
        made = ZeroOptimizer(self.optimizers[0])
        self.optimizers = [made]  # type: ignore[list-item]
        self.model = self.engine(self.model, made)


class OldEngine(Engine):
    """One that has no such method."""

    get_global_grad_norm = None  # type: ignore[assignment]


class OldDeepSpeedStrategy(DeepSpeedStrategy):
    engine = OldEngine


OldDeepSpeedStrategy.__name__ = "DeepSpeedStrategy"


class FSDPStrategy(SingleDeviceStrategy):
    """Named as Lightning's own, which refuses to run without a GPU."""

    def __init__(self) -> None:
        super().__init__(device="cpu")


def watched(strategy: type[SingleDeviceStrategy], root: Path) -> tuple[Diagnostics, MemorySink]:
    """Train with and without us, see that nothing differs, and return us."""
    sink = MemorySink()
    diag = Diagnostics(strict=True, every_n_steps=1, sinks=[sink])
    bare = train(Setup(Plain, lambda: {"strategy": strategy()}), [], root / "bare")
    left = train(Setup(Plain, lambda: {"strategy": strategy()}), [diag], root / "watched")
    assert differences(vars(bare), vars(left)) == []
    return diag, sink


def test_deepspeeds_engine_is_asked_for_its_norm(tmp_path: Path) -> None:
    diag, sink = watched(DeepSpeedStrategy, tmp_path)
    norms = [r.scalar("grad/norm") for r in training(sink.readings)]
    assert len(norms) == 14 and all(norm is not None and norm > 0 for norm in norms)
    assert np.asarray(training(sink.readings)[0].values["lr"]).tolist() == [pytest.approx(1e-3, rel=100)]
    assert {"loss/train", "activation/mean"} <= set(sink.readings[0].values)
    reasons = diag.diagnosis.coverage.skipped
    assert all("its engine" in reasons[rule] for rule in ("gradients/vanishing", "updates/too-large", "updates/frozen"))
    assert "gradients/non-finite" in diag.diagnosis.coverage.ran


def test_an_engine_without_that_method(tmp_path: Path) -> None:
    _, sink = watched(OldDeepSpeedStrategy, tmp_path)
    assert all("grad/norm" not in r.values for r in sink.readings) and len(training(sink.readings)) == 14


def test_fsdp1_says_what_cannot_be_measured(tmp_path: Path) -> None:
    diag, sink = watched(FSDPStrategy, tmp_path)
    assert all("grad/norm" not in r.values for r in sink.readings)
    assert {"loss/train", "activation/mean"} <= set(sink.readings[0].values)
    reasons = diag.diagnosis.coverage.skipped
    assert all(
        "flattens" in reasons[rule] for rule in ("gradients/non-finite", "gradients/vanishing", "updates/frozen")
    )
