"""Waiting, validation and memory in real trainings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset

from lightning_diag import MemorySink, ThroughputMonitor, detectors
from lightning_diag.monitors import Diagnostics
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.throughput import ThroughputProbe
from tests.training import Classifier, digits, fit


class Slow(Dataset[Any]):
    """Digits that take a while to load."""

    def __init__(self, seconds: float, size: int = 1600) -> None:
        self.x, self.y = digits()
        self.seconds, self.size = seconds, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> Any:
        if self.seconds:  # a sleep of 0 s gives the core away where it is wanted
            time.sleep(self.seconds)
        return self.x[i % len(self.x)], self.y[i % len(self.x)]


class Steady(Classifier):
    """A step takes 10 ms at least (or what is said)."""

    step_s = 0.01

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        time.sleep(self.step_s)
        return super().training_step(batch, batch_idx)


def watched(root: Path, train: Any, **options: Any) -> tuple[Diagnostics, MemorySink]:
    sink = MemorySink()
    diag = Diagnostics([ThroughputMonitor()], sinks=[sink], strict=True, every_n_steps=4)
    fit(Steady(), [diag], root, train=train, **{"steps": 120, "limit_val_batches": 0, **options})
    return diag, sink


def test_a_slow_loader_is_found_by_step_120(tmp_path: Path) -> None:
    diag, sink = watched(tmp_path, DataLoader(Slow(0.0025), batch_size=8))
    (finding,) = diag.findings
    assert (finding.rule, str(finding.severity)) == ("system/input-bound", "warning")
    assert 0.5 < float(finding.evidence["value"]) < 0.8 and finding.evidence["num_workers"] == 0
    assert finding.first_step <= 100 and "num_workers=" in finding.advice[0]
    assert diag.diagnosis.causes[0].name == "input-pipeline"
    last = [r for r in sink.readings if "time/wait_s" in r][-1]
    assert last.scalar("time/batches") == 4 and 0.02 < (last.scalar("time/wait_s") or 0) < 0.04


def test_a_loader_that_keeps_up_is_silent_and_the_trainer_is_left_as_it_was(tmp_path: Path) -> None:
    sink = MemorySink()
    diag = Diagnostics([ThroughputMonitor()], sinks=[sink], strict=True, every_n_steps=4)
    module = Steady()
    module.step_s = 0.03  # busy cores make the loader a little late
    trainer = fit(
        module, [diag], tmp_path, steps=100, train=DataLoader(Slow(0.0), batch_size=16), val_check_interval=50
    )
    assert diag.findings == [] and "system/input-bound" in diag.diagnosis.coverage.ran
    assert "save_checkpoint" not in vars(trainer)
    assert not {"on_run_start", "_on_before_fetch", "_on_after_fetch"} & vars(trainer.fit_loop.epoch_loop).keys()
    assert [r.scalar("time/validation_s") for r in sink.readings if r.stage == "validation"]


def test_validation_and_checkpoints_are_summed_apart(tmp_path: Path) -> None:
    class Validating(Steady):
        def on_validation_epoch_start(self) -> None:
            time.sleep(0.3)

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            time.sleep(0.2)

    class Saving(pl.Callback):
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if batch_idx == 20:
                trainer.save_checkpoint(tmp_path / "now.ckpt")

    sink = MemorySink()
    diag = Diagnostics([ThroughputMonitor()], sinks=[sink], strict=True, every_n_steps=4)
    fit(
        Validating(),
        [diag, Saving()],
        tmp_path,
        steps=42,
        train=DataLoader(Slow(0.0), batch_size=16),
        val_check_interval=10,
    )
    last = [r for r in sink.readings if r.stage == "train" and "time/batches" in r][-1]
    assert 1.2 <= (last.scalar("time/validation_s") or 0) < 1.8
    assert 0.2 <= (last.scalar("time/checkpoint_s") or 0) < 0.5
    assert max(r.scalar("time/batch_s") or 0 for r in sink.readings) < 0.1  # neither counts as training


def test_memory_that_is_kept_is_found(tmp_path: Path) -> None:
    class Keeping(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.kept: list[Any] = []

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.kept.append(torch.ones(2**16))  # 256 KiB a step
            return super().training_step(batch, batch_idx)

    class Watching(ThroughputMonitor):
        def parts(self) -> Parts:
            rule = detectors.SystemMemoryGrowth(growth=32 * 2**20)
            return Parts([("Watching", ThroughputProbe())], [rule])

    found = {}
    for module in (Keeping(), Classifier()):
        diag = Diagnostics([Watching()], sinks=[], strict=True, every_n_steps=4)
        fit(module, [diag], tmp_path, steps=600, limit_val_batches=0)
        found[type(module).__name__] = [f.rule for f in diag.findings]
    assert found == {"Keeping": ["system/memory-growth"], "Classifier": []}


def test_epochs_that_start_slowly_are_told_as_that(tmp_path: Path) -> None:
    class Starting(DataLoader[Any]):
        def __iter__(self) -> Any:
            time.sleep(0.2)
            return super().__iter__()

    diag, _ = watched(tmp_path, Starting(Slow(0.0, size=160), batch_size=16), steps=-1, max_epochs=6)
    (finding,) = diag.findings
    assert finding.rule == "system/input-bound" and str(finding.severity) == "info"
    assert "the first batch of an epoch" in finding.message and 0.15 < float(finding.evidence["first_wait_s"]) < 0.4
