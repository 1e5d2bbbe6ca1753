"""One trainer or two, several fits or none, copies of callbacks, loggers, LightningCLI, both namespaces."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger

from lightning_diag import Diagnostics
from lightning_diag.monitors.base import Monitor
from tests.setups.harness import batches, validation
from tests.setups.modules import Plain


def quiet(root: Path, callbacks: list[Any], **options: Any) -> dict[str, Any]:
    return {
        "accelerator": "cpu",
        "callbacks": callbacks,
        "default_root_dir": str(root),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
        **options,
    }


def records(root: Path) -> list[Path]:
    found = root / "lightning_diag_runs"
    return sorted(p for p in found.iterdir() if p.is_dir() and not p.is_symlink()) if found.exists() else []


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_without_a_fit_nothing_is_opened(verb: str, tmp_path: Path) -> None:
    class Whole(Plain):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.validation_step(batch, batch_idx)

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch[0])

    diag = Diagnostics(strict=True)
    getattr(pl.Trainer(**quiet(tmp_path, [diag])), verb)(Whole(), validation())
    assert diag.findings == [] and diag.run_dir is None and records(tmp_path) == []


def test_a_second_fit_has_its_own_record(tmp_path: Path) -> None:
    diag = Diagnostics(strict=True)
    trainer = pl.Trainer(**quiet(tmp_path, [diag], max_epochs=1))
    trainer.fit(Plain(), batches(), validation())
    first = diag.run_dir
    trainer.fit_loop.max_epochs = 2
    trainer.fit(Plain(), batches(), validation())
    assert first is not None and diag.run_dir is not None and first != diag.run_dir
    assert (first / "report.html").exists() and (diag.run_dir / "report.html").exists()


@pytest.mark.parametrize("how", ["the same", "a deep copy", "a pickle"])
def test_a_later_trainer_leaves_the_first_record_alone(how: str, tmp_path: Path) -> None:
    diag = Diagnostics(strict=True)
    pl.Trainer(**quiet(tmp_path, [diag], max_epochs=1)).fit(Plain(), batches(), validation())
    assert diag.run_dir is not None
    before = {p.name: p.read_bytes() for p in diag.run_dir.iterdir() if p.is_file()}
    place = diag.run_dir
    later = {"the same": diag, "a deep copy": copy.deepcopy(diag), "a pickle": pickle.loads(pickle.dumps(diag))}[how]
    second = pl.Trainer(**quiet(tmp_path, [later], max_epochs=1))
    second.validate(Plain(), validation(), verbose=False)
    second.fit(Plain(), batches(), validation())
    assert {p.name: p.read_bytes() for p in place.iterdir() if p.is_file()} == before
    assert later.run_dir not in (None, place)


@pytest.mark.parametrize("when", ["before", "after"])
def test_copies_before_and_after_a_fit(when: str, tmp_path: Path) -> None:
    diag = Diagnostics(strict=True)
    if when == "after":
        pl.Trainer(**quiet(tmp_path, [diag], max_epochs=1)).fit(Plain(), batches(), validation())
    for twin in (copy.deepcopy(diag), copy.copy(diag), pickle.loads(pickle.dumps(diag))):
        assert isinstance(twin, Monitor) and twin.findings == [] and twin.run_dir is None


def test_several_loggers(tmp_path: Path) -> None:
    loggers = [CSVLogger(str(tmp_path), name=name) for name in ("one", "two")]
    diag = Diagnostics(strict=True, every_n_steps=1)
    trainer = pl.Trainer(**quiet(tmp_path, [diag], max_epochs=2, logger=loggers, log_every_n_steps=1))
    trainer.fit(Plain(), batches(), validation())
    for logger in loggers:
        assert "diag/grad/norm" in (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()[0]


def test_the_other_namespace(tmp_path: Path) -> None:
    other = pytest.importorskip("pytorch_lightning")

    class Module(other.LightningModule):  # type: ignore[name-defined,misc]
        net = property(lambda self: self.inner.net)
        training_step = Plain.training_step
        unpacked = Plain.unpacked

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.lr = Plain(), 1e-2

        def forward(self, x: Any) -> Any:
            return self.inner.net(x)

        def configure_optimizers(self) -> Any:
            return Plain.configure_optimizers(self)

    diag = Diagnostics(strict=True, every_n_steps=1)
    other.Trainer(**quiet(tmp_path, [diag], max_steps=5)).fit(Module(), batches())
    assert diag.run_dir is not None and len((diag.run_dir / "readings.jsonl").read_text().splitlines()) >= 5


class Data(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        return batches()

    def val_dataloader(self) -> Any:
        return validation()


YAML = """
trainer:
  max_steps: 4
  accelerator: cpu
  logger: false
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: lightning_diag.Diagnostics
      init_args:
        select: [loss, gradients]
        every_n_steps: 1
"""


def test_lightning_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jsonargparse")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning calls it in an old way
    monkeypatch.setattr(sys, "argv", ["train.py", "fit", "--config", "config.yaml"])
    (tmp_path / "config.yaml").write_text(YAML)
    cli = LightningCLI(Plain, Data, save_config_callback=None, seed_everything_default=False)
    (diag,) = [c for c in cli.trainer.callbacks if isinstance(c, Diagnostics)]  # type: ignore[attr-defined]
    assert diag.run_dir is not None and diag.options().every_n_steps == 1
    assert {rule.partition("/")[0] for rule in diag.diagnosis.coverage.ran} <= {"loss", "gradients"}
