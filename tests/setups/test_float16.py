"""float16 on the CPU: which steps the scaler skipped, unscaled norms, and what the rule says of real trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import Callback

from lightning_diag import Diagnostics, MemorySink, Severity
from tests.setups.catalog import scaled
from tests.setups.harness import Setup, train, training
from tests.setups.modules import Fused, Plain


class Weights(Callback):
    """Notes the steps in which no weight changed: the ground truth for a skipped step."""

    def __init__(self) -> None:
        self.unchanged: list[int] = []

    def on_train_batch_start(self, trainer: Any, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self.before = [p.detach().clone() for p in pl_module.parameters()]

    def on_train_batch_end(
        self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if all(a.equal(b) for a, b in zip(self.before, pl_module.parameters(), strict=True)):
            self.unchanged.append(trainer.global_step)


class Overflows(Plain):
    """The gradient of every ``every``-th loss is not finite in float16, whatever the scale; the loss itself is."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        if self.global_step >= 50 and self.global_step % self.every == 0:
            loss.register_hook(lambda grad: grad * float("inf"))
        return loss


def watched(module: Any, root: Path, steps: int = 60, **scaler: Any) -> tuple[Diagnostics, MemorySink, Weights]:
    sink, weights = MemorySink(), Weights()
    diag = Diagnostics(sinks=[sink], strict=True, select=("gradients", "updates", "loss"))
    train(Setup(module, lambda: scaled(**scaler), steps=steps), [diag, weights], root)
    return diag, sink, weights


@pytest.mark.parametrize("module", [Plain, Fused])
def test_skipped_steps_are_exactly_those_that_changed_nothing(module: Any, tmp_path: Path) -> None:
    _, sink, weights = watched(module, tmp_path, steps=30, init_scale=2.0**26, growth_interval=4)
    skipped = [r.step for r in training(sink.readings) if r.values["scaler/skipped"] == 1]
    assert skipped == weights.unchanged and len(skipped) > 5
    scale = [float(r.values["scaler/scale"]) for r in training(sink.readings)]
    assert scale[0] == 2.0**25 and min(scale) < 2.0**20


@pytest.mark.parametrize("module", [Plain, Fused])
def test_norms_are_unscaled(module: Any, tmp_path: Path) -> None:
    """Float16 on the CPU gives the norms that float32 gives, to the precision of float16."""
    found: dict[str, list[float]] = {}
    for name, options in {"half": scaled(init_scale=2.0**10), "full": {}}.items():
        sink = MemorySink()
        diag = Diagnostics(sinks=[sink], strict=True, every_n_steps=1)
        train(Setup(module, lambda options=options: dict(options), steps=5), [diag], tmp_path / name)  # type: ignore[misc]
        found[name] = [float(r.values["grad/norm"]) for r in training(sink.readings)]
    assert found["half"] == pytest.approx(found["full"], rel=0.02)


@pytest.mark.parametrize("exponent", [1, 10, 16, 24, 32, 40])
@pytest.mark.parametrize("module", [Plain, Fused])
def test_healthy_trainings_are_no_warning_whatever_the_first_scale(module: Any, exponent: int, tmp_path: Path) -> None:
    diag, sink, _ = watched(module, tmp_path, init_scale=2.0**exponent)
    assert "gradients/scaler-skipping" in diag.diagnosis.coverage.ran
    said = [f for f in sink.findings if f.rule == "gradients/scaler-skipping"]
    assert all(f.severity == Severity.INFO for f in said)


@pytest.mark.parametrize(("every", "severity"), [(3, Severity.WARNING), (1, Severity.CRITICAL)])
def test_a_training_that_overflows(every: int, severity: Severity, tmp_path: Path) -> None:
    diag, _, _ = watched(lambda: Overflows(every), tmp_path, steps=80)
    found = {f.rule: f for f in diag.findings}["gradients/scaler-skipping"]
    assert found.severity == severity and 50 < found.first_step <= 53
    assert diag.diagnosis.causes[0].name == "low-precision"


def test_without_a_scaler_it_says_why(tmp_path: Path) -> None:
    diag = Diagnostics(sinks=[], strict=True)
    train(Setup(Plain, steps=5), [diag], tmp_path)
    reason = diag.diagnosis.coverage.skipped["gradients/scaler-skipping"]
    assert reason == "the precision has no gradient scaler"
