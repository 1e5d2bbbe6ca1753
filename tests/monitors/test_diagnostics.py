"""The public face of a run, end to end on real handwriting."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Diagnostics, Finding, GradientMonitor, MemorySink, Severity, findings, load
from lightning_diag.errors import ConfigurationError
from lightning_diag.signals import SIGNALS
from tests.training import Classifier, digits, fit, loader


def test_a_healthy_run_is_quiet_and_says_what_ran(tmp_path: Path) -> None:
    diag = Diagnostics(strict=True, every_n_steps=5)  # on a busy machine the budget would leave too few samples
    fit(Classifier(), [diag], tmp_path, steps=300)
    assert diag.diagnosis.healthy, diag.findings
    assert diag.diagnosis.verdict.startswith("Healthy")
    assert {"loss/not-learning", "gradients/exploding", "updates/too-large"} <= set(diag.diagnosis.coverage.ran)
    assert diag.run_dir is not None
    assert {p.name for p in diag.run_dir.iterdir()} >= {"run.json", "readings.jsonl", "findings.jsonl", "report.html"}


def test_a_learning_rate_that_is_far_too_high(tmp_path: Path) -> None:
    told: list[Finding] = []
    diag = Diagnostics(strict=True, on_finding=told.append)
    trainer = fit(Classifier(lr=1.0), [diag], tmp_path, steps=200)
    assert diag.diagnosis.causes[0].name == "learning-rate-too-high", diag.findings
    assert told and findings(trainer) == diag.findings
    assert diag.findings[0].severity >= diag.findings[-1].severity


def test_stop_on_stops(tmp_path: Path) -> None:
    diag = Diagnostics(strict=True, stop_on="warning")
    trainer = fit(Classifier(lr=1.0), [diag], tmp_path, steps=400)
    assert trainer.global_step < 400


def test_select_and_ignore(tmp_path: Path) -> None:
    diag = Diagnostics(select=("loss",), ignore=("loss/sp*",), sinks=[])
    fit(Classifier(), [diag], tmp_path, steps=5)
    known = {*diag.diagnosis.coverage.ran, *diag.diagnosis.coverage.skipped}
    assert "loss/diverging" in known and "loss/spike" not in known and "gradients/vanishing" not in known


@pytest.mark.parametrize(
    "arguments",
    [
        {"budget": 0},
        {"every_n_steps": 0},
        {"select": ("los",)},
        {"stop_on": "bad"},
        {"monitors": [3]},
        {"observe": 3},
        {"sinks": ["wandb"]},
    ],
)
def test_wrong_arguments_are_told_before_training(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        Diagnostics(**arguments)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_loss_is_undivided_and_counted_by_optimizer_step(accumulate: int, tmp_path: Path) -> None:
    seen: list[float] = []

    class Telling(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            seen.append(float(loss.detach()))
            return loss

    memory = MemorySink()
    fit(Telling(), [Diagnostics(sinks=[memory], strict=True)], tmp_path, steps=10, accumulate_grad_batches=accumulate)
    got = [r.scalar("loss/train") for r in memory.readings if "loss/train" in r]
    want = np.array(seen).reshape(10, accumulate).mean(1)
    assert got == pytest.approx(want, rel=1e-6)
    assert [r.step for r in memory.readings if r.stage == "train"] == list(range(1, 11))


def test_clipping_by_norm_is_seen_on_both_sides(tmp_path: Path) -> None:
    memory = MemorySink()
    diag = Diagnostics(sinks=[memory], strict=True, every_n_steps=1)
    fit(Classifier(), [diag], tmp_path, steps=10, gradient_clip_val=0.01)
    for reading in memory.readings:
        if "grad/norm" in reading:
            assert reading.scalar("grad/norm_after_clip") == pytest.approx(0.01, rel=1e-3)
            assert (reading.scalar("grad/norm") or 0) > 0.05 and reading.scalar("grad/clipped") == 1.0


def test_gradient_norms_are_lightnings_own(tmp_path: Path) -> None:
    from lightning.pytorch.utilities import grad_norm

    want: list[dict[str, float]] = []

    class Norms(Classifier):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            want.append({k: float(v) for k, v in grad_norm(self, 2).items()})

    memory = MemorySink()
    fit(Norms(), [Diagnostics(sinks=[memory], strict=True, every_n_steps=1)], tmp_path, steps=5)
    for reading, norms in zip([r for r in memory.readings if "grad/norm" in r], want, strict=True):
        assert reading.scalar("grad/norm") == pytest.approx(norms["grad_2.0_norm_total"], rel=1e-5)
        per = reading.vector("grad/parameter_norm")
        assert per is not None
        assert per == pytest.approx([norms[f"grad_2.0_norm/{n}"] for n in reading.names("parameter")], rel=1e-5)


def test_chance_level_and_accuracy_are_known_without_help(tmp_path: Path) -> None:
    memory = MemorySink()
    fit(Classifier(smoothing=0.1), [Diagnostics(sinks=[memory], strict=True)], tmp_path, steps=60)
    facts = memory.readings[-1].facts
    assert facts.loss_kind == "cross-entropy (label smoothing 0.1)"
    assert facts.chance_loss == pytest.approx(np.log(10), rel=0.01)
    assert facts.planned_steps == 60 and facts.steps_per_epoch == 24 and facts.batch_size == 64
    validation = [r for r in memory.readings if r.stage == "validation"]
    assert len(validation) == 2 and validation[-1].scalar("val/samples") == 297
    assert (validation[-1].scalar("accuracy/val") or 0) > 0.5 and validation[-1].scalar("loss/val") is not None


def test_every_signal_that_is_read_is_in_the_table(tmp_path: Path) -> None:
    memory = MemorySink()
    fit(Classifier(), [Diagnostics(sinks=[memory], strict=True)], tmp_path, steps=30)
    assert {name for r in memory.readings for name in r.values} <= SIGNALS.keys()


NOT_EXACT = ("system", "data/label-noise")


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
@pytest.mark.parametrize("lr", [1e-3, 0.5])
def test_stop_and_resume_gives_what_one_run_gives(lr: float, tmp_path: Path) -> None:
    x, y = digits()
    ordered = DataLoader(TensorDataset(x[:1472], y[:1472]), batch_size=64)

    def run(folder: str, ckpt: str | None) -> tuple[Diagnostics, list[int]]:
        # system/* and how many samples are hashed follow the clock
        diag = Diagnostics(strict=True, every_n_steps=5, run_dir=tmp_path / folder, ignore=NOT_EXACT)
        torch.manual_seed(0)
        module = Classifier(lr=lr, dropout=0.0)
        keep = ModelCheckpoint(
            tmp_path / "checkpoints", filename="{epoch}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=True
        )
        fit(module, [diag, keep], tmp_path, steps=184, train=ordered, ckpt_path=ckpt, enable_checkpointing=True)
        assert diag.run_dir is not None
        return diag, [r.step for r in load(diag.run_dir).readings() if r.stage == "train"]

    whole, steps = run("whole", None)
    half = tmp_path / "checkpoints" / "epoch=3.ckpt"
    assert "judge" in torch.load(half, weights_only=True)["callbacks"]["Diagnostics"]
    resumed, later = run("resumed", str(half))
    assert steps == list(range(1, 185)) and later == list(range(93, 185))
    assert resumed.findings == whole.findings and resumed.diagnosis == whole.diagnosis
    assert any(f.severity >= Severity.WARNING for f in whole.findings) == (lr > 0.1)


def test_two_fits_on_one_callback_make_two_records(tmp_path: Path) -> None:
    diag = Diagnostics(run_dir=tmp_path / "run")
    fit(Classifier(), [diag], tmp_path, steps=5)
    first = diag.run_dir
    fit(Classifier(), [diag], tmp_path, steps=5)
    assert first == tmp_path / "run" and diag.run_dir == tmp_path / "run-2"
    assert load(tmp_path / "run").info["status"] == load(tmp_path / "run-2").info["status"] == "finished"


def test_copies_and_pickles_are_fresh(tmp_path: Path) -> None:
    diag = Diagnostics(run_dir=tmp_path / "run")
    fit(Classifier(), [diag], tmp_path, steps=5)
    for twin in (copy.deepcopy(diag), pickle.loads(pickle.dumps(diag))):
        assert twin.findings == [] and twin.run_dir is None
        assert diag.run_dir == tmp_path / "run"


def test_the_other_namespace_with_checkpoints(tmp_path: Path) -> None:
    class Other(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(64, 10)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    diag = Diagnostics(strict=True)
    callbacks: list[Any] = [diag]  # for mypy it is a callback of the one namespace
    trainer = pytorch_lightning.Trainer(
        max_steps=20, accelerator="cpu", logger=False, callbacks=callbacks, default_root_dir=str(tmp_path),
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Other(), loader())
    assert diag.diagnosis.coverage.ran and GradientMonitor in {type(m) for m in diag.monitors}


def test_validate_and_fast_dev_run_do_not_need_a_fit(tmp_path: Path) -> None:
    diag = Diagnostics(strict=True)
    trainer = pl.Trainer(callbacks=[diag], logger=False, accelerator="cpu", default_root_dir=str(tmp_path),
                         enable_progress_bar=False, fast_dev_run=True, enable_model_summary=False)  # fmt: skip
    module = Classifier()
    trainer.validate(module, loader(train=False), verbose=False)
    trainer.fit(module, loader(), loader(train=False))
    assert diag.findings == [] or max(f.severity for f in diag.findings) < Severity.WARNING
