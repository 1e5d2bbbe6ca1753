"""The flight recorder in a real run: a loss spike planted at a step is there with its batch and sample ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_diag import Diagnostics
from lightning_diag._pipeline import schedule
from lightning_diag.record import Flight, flights

BAD = 150  # step


class Named(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Any]:
        g = torch.Generator().manual_seed(index)
        x = torch.randn(8, generator=g)
        return {"x": x, "y": x.sum().reshape(1), "id": f"sample-{index}", "index": index}


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 1)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch["x"]), batch["y"])
        return loss * float("nan") if self.global_step + 1 == BAD else loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def recorded(
    tmp_path: Path, *, callbacks: Sequence[pl.Callback] = (), ckpt_path: Path | None = None, **options: Any
) -> Flight:
    """The first recording of a run whose loss is not a number at step :data:`BAD`."""
    diag = Diagnostics(run_dir=tmp_path / "run", **options)
    trainer = pl.Trainer(
        max_steps=200, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[diag, *callbacks], default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Net(), DataLoader(Named(), batch_size=4), ckpt_path=ckpt_path)
    return flights(tmp_path / "run")[0]


def test_the_batch_and_the_samples_of_a_bad_step(tmp_path: Path) -> None:
    flight = recorded(tmp_path, every_n_steps=1000)
    assert flight.event.rule == "loss/non-finite" and flight.event.step == BAD
    steps = [r.step for r in flight.readings if r.stage == "train"]
    assert steps == list(range(BAD - 49, BAD + 21))
    bad = next(r for r in flight.readings if r.step == BAD)
    assert bad.batch_idx == (BAD - 1) % 16
    assert flight.samples[BAD] == tuple(f"sample-{bad.batch_idx * 4 + i}" for i in range(4))


def test_auto_samples_the_steps_after_it_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "CLOSE_S", 100.0)  # a busy machine is slow
    sampled = [r.step for r in recorded(tmp_path, budget=1e-4).readings if "grad/norm" in r.values]
    assert set(range(BAD + 2, BAD + 18)) <= set(sampled)


class Stop(pl.Callback):
    """Saves a checkpoint after one step and breaks off after a later one."""

    def __init__(self, path: Path, save: int, stop: int) -> None:
        self.path, self.save, self.stop = path, save, stop

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.save:
            trainer.save_checkpoint(self.path)
        if trainer.global_step == self.stop:
            raise RuntimeError("stopped")


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")
@pytest.mark.parametrize("stop", [BAD + 8, BAD + 12])
def test_a_run_that_broke_off_in_a_recording_goes_on_with_it(tmp_path: Path, stop: int) -> None:
    path = tmp_path / "middle.ckpt"
    with pytest.raises(RuntimeError, match="stopped"):
        recorded(tmp_path, every_n_steps=1000, callbacks=[Stop(path, BAD + 8, stop)])
    assert [r.step for r in flights(tmp_path / "run")[0].readings if r.stage == "train"][-1] == stop
    flight = recorded(tmp_path, every_n_steps=1000, ckpt_path=path)
    assert [r.step for r in flight.readings if r.stage == "train"] == list(range(BAD - 49, BAD + 21))
    assert len(flights(tmp_path / "run")) == 1 and flight.samples.keys() == set(range(BAD - 49, BAD + 21))
