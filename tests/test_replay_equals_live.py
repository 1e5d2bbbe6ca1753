"""What ``check`` finds in a record is what the run itself was told, whatever was sampled, and after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import LambdaCallback
from torch import nn

from lightning_diag import Diagnostics, Finding, check, load
from tests.training import Classifier, fit, loader


class Norms(Classifier):
    """A deeper net with norms, GELU and a layer whose output dies."""

    def __init__(self, lr: float = 1e-3) -> None:
        super().__init__(lr)
        norm = nn.BatchNorm1d(32)
        nn.init.constant_(norm.bias, -3.0)
        layers = [nn.Linear(64, 32), norm, nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)]
        self.net = nn.Sequential(*layers)


class Nan(Classifier):
    """Its loss stops being a number at step 40."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss * float("nan") if self.global_step >= 40 else loss


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "healthy": (lambda: Classifier(lr=3e-3), {}),
    "rate too high": (lambda: Classifier(lr=1.0), {}),
    "rate far too high, clipped": (lambda: Classifier(lr=30.0), {"gradient_clip_val": 0.1}),
    "rate too low": (lambda: Classifier(lr=1e-7), {}),
    "not finite": (Nan, {}),
    "dying layer": (lambda: Norms(lr=0.05), {}),
    "accumulating": (lambda: Classifier(lr=0.3), {"accumulate_grad_batches": 3}),
    "overfits": (lambda: Classifier(lr=3e-2, dropout=0.0, hidden=256), {"few": 64, "check_val_every_n_epoch": 8}),
    "in bfloat16": (lambda: Classifier(lr=0.5), {"precision": "bf16-mixed"}),
}


def same(live: list[Finding], again: tuple[Finding, ...]) -> None:
    assert [f.to_dict() for f in again] == [f.to_dict() for f in live]


@pytest.mark.parametrize(
    ("name", "every"),
    [*((name, "auto") for name in CASES), *((name, n) for name in list(CASES)[1:6:2] for n in (1, 7))],
)
def test_a_replay_finds_what_the_run_was_told(name: str, every: Any, tmp_path: Path) -> None:
    make, settings = CASES[name]
    settings = dict(settings)
    train = loader(size=settings.pop("few", 512))
    diag = Diagnostics(run_dir=tmp_path / "run", strict=True, every_n_steps=every)
    fit(make(), [diag], tmp_path, steps=120, train=train, **settings)
    again = check(tmp_path / "run")
    same(diag.findings, again.findings)
    same(load(tmp_path / "run").findings, again.findings)
    assert again.causes == diag.diagnosis.causes
    assert set(diag.diagnosis.coverage.ran) == set(again.coverage.ran)


class PowerError(Exception):
    """Goes out."""


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
@pytest.mark.parametrize("lr", [3e-3, 1.0])
def test_after_a_resume_too(lr: float, tmp_path: Path) -> None:
    def stop(trainer: Any, *_: Any) -> None:
        if trainer.global_step == 90:
            trainer.save_checkpoint(tmp_path / "at.ckpt")
        if trainer.global_step == 100:
            raise PowerError

    first = Diagnostics(run_dir=tmp_path / "run", strict=True, every_n_steps=5)
    with pytest.raises(PowerError):
        fit(Classifier(lr=lr), [first, LambdaCallback(on_train_batch_end=stop)], tmp_path, steps=200)
    second = Diagnostics(run_dir=tmp_path / "run", strict=True, every_n_steps=5)
    fit(Classifier(lr=lr), [second], tmp_path, steps=200, ckpt_path=str(tmp_path / "at.ckpt"))
    assert second.run_dir == tmp_path / "run" and len(load(tmp_path / "run").info["sessions"]) == 2
    again = check(tmp_path / "run")
    same(second.findings, again.findings)
    assert lr < 1.0 or any(f.severity >= 1 for f in again.findings)
