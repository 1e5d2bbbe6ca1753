"""A plain step goes a short way, or the long one where it must: what is recorded is the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from lightning_diag import Diagnostics, GradientMonitor, StabilityMonitor, load
from lightning_diag._pipeline.plain import PlainStep
from lightning_diag._pipeline.step import Pipeline
from lightning_diag.reading import Reading
from tests.training import Classifier, fit, loader

STEPS = 14


class Breaking(Classifier):
    """Its losses are not finite at some batches, and at some it returns none."""

    def __init__(self, bad: tuple[int, ...] = (), skipped: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.bad, self.skipped = bad, skipped

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """The loss, or not."""
        loss = super().training_step(batch, batch_idx)
        if batch_idx in self.skipped:
            return None
        assert isinstance(loss, Tensor)
        return loss * float("nan") if batch_idx in self.bad else loss


class Searching(Classifier):
    """Each optimizer step looks at several losses of its batch."""

    def configure_optimizers(self) -> Any:
        """L-BFGS."""
        return torch.optim.LBFGS(self.parameters(), lr=0.05, max_iter=3)


def watched(folder: Path, every: int = 5) -> Diagnostics:
    monitors = [GradientMonitor(), StabilityMonitor()]  # none of their probes wants a batch of a plain step
    return Diagnostics(monitors, run_dir=folder / "run", every_n_steps=every, strict=True)


def recorded(folder: Path, module: Any, **given: Any) -> list[Reading]:
    diag = watched(folder)
    fit(module, [diag], folder, steps=STEPS, limit_val_batches=0, train=loader(batch_size=16, size=STEPS * 16), **given)
    assert diag.run_dir is not None
    return list(load(diag.run_dir).readings())


def numbers(readings: list[Reading]) -> list[tuple[Any, ...]]:
    """What doesn't depend on the clock."""
    return [
        (r.step, r.epoch, r.batch_idx, r.stage, str(r.values.get("loss/train")), sorted(r.values)) for r in readings
    ]


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.parametrize("module", ["plain", "bad", "skipped", "searching"])
def test_the_short_way_and_the_long_way_record_the_same(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made() -> Any:
        torch.manual_seed(0)
        if module == "searching":
            return Searching()
        return Breaking(bad=(7, 8) if module == "bad" else (), skipped=(7, 8) if module == "skipped" else ())

    ways: Counter[str] = Counter()
    inner, over = PlainStep.end, Pipeline.take_over
    monkeypatch.setattr(PlainStep, "end", lambda *args: (ways.update(["short"]), inner(*args))[1])
    monkeypatch.setattr(Pipeline, "take_over", lambda *args: (ways.update(["over"]), over(*args))[1])
    short = recorded(tmp_path / "short", made())
    assert (ways["short"] > 0 or module == "searching") and bool(ways["over"]) == (module in ("bad", "searching"))
    ways.clear()
    monkeypatch.setattr(PlainStep, "possible", staticmethod(lambda scene, transfer: False))
    long = recorded(tmp_path / "long", made())
    assert not ways
    assert numbers(short) == numbers(long)


def test_accumulated_batches_go_the_long_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: Counter[str] = Counter()
    inner = PlainStep.start
    monkeypatch.setattr(PlainStep, "start", lambda *args: (begun.update(["short"]), inner(*args))[1])
    recorded(tmp_path, Classifier(), accumulate_grad_batches=2)
    assert not begun


def test_nothing_of_a_plain_step_is_held_on_to(tmp_path: Path) -> None:
    held: list[Any] = []

    class Looking(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            assert diag._session is not None and diag._session.pipeline.plain is not None
            plain = diag._session.pipeline.plain
            held.append((plain.batch, plain.number, diag._session.pipeline._observer and plain._observer.calls))

    diag = watched(tmp_path)
    fit(Classifier(), [diag, Looking()], tmp_path, steps=STEPS, limit_val_batches=0)
    assert len(held) == STEPS and all(batch is None and number is None and not calls for batch, number, calls in held)


def test_what_a_plain_step_takes_is_booked(tmp_path: Path) -> None:
    diag = watched(tmp_path, 10**6)
    fit(Classifier(), [diag], tmp_path, steps=STEPS, limit_val_batches=0)
    assert diag._session is not None
    schedule = diag._session.schedule
    before = schedule.elapsed_s
    diag._session.pipeline.settle()
    assert schedule.elapsed_s >= before > 0 and 0 < schedule.spent_s < schedule.elapsed_s
    assert torch.isfinite(torch.tensor([schedule._plain_s, schedule._step_s])).all()
