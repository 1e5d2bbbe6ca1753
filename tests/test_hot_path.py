"""What a training step pays, in counts that no noise moves: calls, operations. And one generous time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from benchmarks.overhead import growth
from lightning_diag import ClassErrorMonitor, Diagnostics, GradientMonitor, StabilityMonitor
from lightning_diag._pipeline import step as hall
from lightning_diag._pipeline.schedule import Schedule
from lightning_diag._pipeline.step import Pipeline
from lightning_diag._transfer import Transfer
from lightning_diag.monitors import trainer_view as view
from lightning_diag.packet import Packet
from lightning_diag.probes import data_content
from lightning_diag.probes.base import Scene
from lightning_diag.probes.data_content import DataContentProbe
from lightning_diag.probes.data_near import DataNearProbe
from lightning_diag.probes.gradient import GradientProbe
from lightning_diag.probes.loss import LossProbe
from lightning_diag.reading import Facts
from tests.training import Classifier, fit, loader

HOOKS = ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_train_batch_end")
STEPS = 12
MOST_LAUNCHES = 240  # of a sample of every monitor on a classifier of ten parameter tensors; 238 when this was written
EVERY = 6  # steps 1 and 7 are sampled


def watched(every: int = EVERY, **options: Any) -> Diagnostics:
    monitors = [GradientMonitor(), StabilityMonitor(), ClassErrorMonitor()]
    return Diagnostics(monitors, every_n_steps=every, strict=True, sinks=[], **options)


def around(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put something around every hook of a training step."""
    for name in HOOKS:
        monkeypatch.setattr(Diagnostics, name, wrap(name, getattr(Diagnostics, name)))


def test_a_plain_step_calls_nothing_but_what_the_loss_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def counted(kind: Any, name: str) -> None:
        inner = getattr(kind, name)

        def count(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return inner(*args, **kwargs)

        monkeypatch.setattr(kind, name, count)

    for kind, name in (
        (Transfer, "at_once"), (Transfer, "submit"), (Transfer, "landed"), (Packet, "pack"),
        (Pipeline, "before_update"), (Pipeline, "after_update"), (Schedule, "due"), (Schedule, "done"),
        (hall, "is_finite_now"),
    ):  # fmt: skip
        counted(kind, name)
    fit(Classifier(), [watched()], tmp_path, steps=STEPS, limit_val_batches=0)
    sampled, plain = 2, STEPS - 2
    assert calls["due"] == sampled and calls["done"] == sampled + 1  # the plain steps between two are booked at once
    assert calls["at_once"] == plain
    for name in ("submit", "landed", "pack", "is_finite_now", "before_update", "after_update"):
        assert calls[name] == sampled, name


def test_a_plain_step_asks_no_probe_unless_one_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()

    def counted(kind: Any, name: str) -> None:
        inner = getattr(kind, name)

        def count(*args: Any) -> Any:
            asked[f"{kind.__name__}.{name}"] += 1
            return inner(*args)

        monkeypatch.setattr(kind, name, count)

    for kind in (LossProbe, DataContentProbe, DataNearProbe):
        counted(kind, "loss")
        counted(kind, "collect")
    monkeypatch.setattr(data_content, "GRACE_S", 0.0)
    monkeypatch.setattr(data_content, "HASH_FRAC", 1e-9)  # after the first of them no batch is worth its while
    fit(
        Classifier(),
        [Diagnostics(every_n_steps=EVERY, strict=True, sinks=[])],
        tmp_path,
        steps=STEPS,
        limit_val_batches=0,
    )
    # the sampled ones, and two after the first: they tell how long a step and a hash take
    assert asked == dict.fromkeys(asked, 4) and len(asked) == 6


def test_steps_and_epochs_are_counted_as_lightning_counts_them(tmp_path: Path) -> None:
    ours: list[tuple[int, int]] = []
    theirs: list[tuple[int, int]] = []

    class Asking(pl.Callback):
        def on_fit_start(self, trainer: Any, *_: Any) -> None:
            self.steps, self.epochs = view.counts(trainer)  # before a checkpoint's counts are there

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            ours.append((self.steps.completed, self.epochs.completed))
            theirs.append((trainer.global_step, trainer.current_epoch))

    def run(epochs: int, **given: Any) -> pl.Trainer:
        given |= {"max_epochs": epochs, "accumulate_grad_batches": 2, "limit_val_batches": 0}
        return fit(Classifier(), [Asking()], tmp_path, steps=-1, train=loader(size=256), **given)

    saved = str(tmp_path / "saved.ckpt")
    run(2).save_checkpoint(saved)
    first = len(theirs)
    run(4, ckpt_path=saved)
    assert ours == theirs
    assert ours[first - 1][1] == 1 and ours[first][1] == 2 and ours[-1][0] == first  # all went on where they were


def test_a_plain_step_runs_one_operation_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Counter[str]] = [Counter()]

    def wrap(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def hook(*args: Any) -> Any:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
                inner(*args)
            seen[-1].update(e.name for e in profiled.events() if e.name.startswith("aten::"))
            if name == "on_train_batch_end":
                seen.append(Counter())

        return hook

    around(monkeypatch, wrap)
    fit(Classifier(), [watched()], tmp_path, steps=STEPS, limit_val_batches=0)
    for step, operations in enumerate(seen[:STEPS], start=1):
        if step % EVERY == 1:
            assert sum(operations.values()) > 20  # the profiler sees what there is to see
        else:
            assert operations == {"aten::item": 1, "aten::_local_scalar_dense": 1}, step


class Functions(TorchFunctionMode):
    """Counts torch functions called from Python; reading an attribute or a pointer is none."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        if name not in {"__get__", "data_ptr", "numel", "get_device"}:
            self.names[name] += 1
        return func(*args, **(kwargs or {}))


def test_a_sample_of_the_gradients_takes_no_more_calls_for_more_parameters() -> None:
    counts = []
    for layers in (2, 40):
        module = nn.Sequential(*(nn.Linear(8, 8) for _ in range(layers)))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        probe = GradientProbe()
        probe.attach(Scene(module, [optimizer], Facts(clip_val=1.0)))
        for _ in range(2):  # the first sample makes what the others use
            optimizer.zero_grad()
            module(torch.ones(2, 8)).sum().backward()
            with Functions() as before:
                probe.before_update(0)
            optimizer.step()
            with Functions() as after:
                probe.after_update(0)
                values = probe.collect()
        assert len(values) == 10
        counts.append(before.names + after.names)
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) < 60


def test_findings_are_complete_whenever_they_are_asked_for(tmp_path: Path) -> None:
    seen: list[int] = []

    class Asking(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            assert diag._session is not None
            seen.append(len(diag._session.settled.state_dict()["health"]["level"]["values"]))
            assert diag.findings == [] and diag.diagnosis.causes == ()

    diag = watched()
    fit(Classifier(), [diag, Asking()], tmp_path, steps=STEPS, limit_val_batches=0)
    assert seen == list(range(1, STEPS + 1))


def test_a_plain_step_takes_less_than_a_tenth_of_a_millisecond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = [0.0]

    def wrap(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def hook(*args: Any) -> Any:
            start = time.thread_time()
            inner(*args)
            spent[-1] += time.thread_time() - start
            if name == "on_train_batch_end":
                spent.append(0.0)

        return hook

    around(monkeypatch, wrap)
    fit(Classifier(), [watched(10**9)], tmp_path, steps=1280 + 2, limit_val_batches=0)
    blocks = [sum(spent[i : i + 128]) / 128 for i in range(1, 1281, 128)]  # each holds at least one block of the teller
    limit = max(100e-6, 2 * five_thousand_additions())  # these take 60 us where nothing else runs
    assert min(blocks) < limit, [f"{1e6 * b:.0f} us" for b in blocks]


def five_thousand_additions() -> float:
    """CPU seconds of a plain loop, as fast as this machine is just now."""
    took = []
    for _ in range(200):
        start = time.thread_time()
        sum(range(5000))
        took.append(time.thread_time() - start)
    return sorted(took)[len(took) // 2]


def test_a_sample_launches_few_kernels() -> None:
    _, added = growth.operations(growth.stack(5, 16))
    assert added <= MOST_LAUNCHES, "a sample became dearer: see where with ``benchmarks.overhead growth``"
