"""On a CUDA device: no sync in any step, float16 and bfloat16, one rank over nccl. Skipped without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from lightning_diag import Diagnostics, MemorySink
from lightning_diag.monitors.base import Monitor
from tests.setups.harness import batches, training
from tests.setups.modules import Fused, Plain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
HOOKS = ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_train_batch_end")


def fit(root: Path, module: pl.LightningModule, **options: Any) -> MemorySink:
    sink = MemorySink()
    trainer = pl.Trainer(
        accelerator="gpu",
        devices=1,
        callbacks=[Diagnostics(strict=True, every_n_steps=3, sinks=[sink])],
        default_root_dir=str(root),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_steps": 30, **options},
    )
    trainer.fit(module, batches())
    return sink


def test_no_sync_in_our_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync debug mode is at "error" inside our hooks alone: Lightning itself waits now and then."""

    def guarded(hook: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> None:
            torch.cuda.set_sync_debug_mode("error")
            try:
                hook(*args, **kwargs)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        return call

    for name in HOOKS:
        monkeypatch.setattr(Monitor, name, guarded(getattr(Monitor, name)))
    assert len(training(fit(tmp_path, Plain()).readings)) == 30


@pytest.mark.parametrize("module", [Plain, Fused])
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "bf16-true"])
def test_precisions(module: type[Plain], precision: Any, tmp_path: Path) -> None:
    readings = training(fit(tmp_path, module(), precision=precision).readings)
    assert len(readings) == 30
    assert ("scaler/skipped" in readings[-1].values) == (precision == "16-mixed")


def test_one_rank_over_nccl(tmp_path: Path) -> None:
    assert len(training(fit(tmp_path, Plain(), strategy="ddp").readings)) == 30
