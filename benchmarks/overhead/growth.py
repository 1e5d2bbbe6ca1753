"""How the cost of one sampled step grows with the model, and what a record costs against its steps."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.overhead.nets import Task
from lightning_diag import Diagnostics, MemorySink, report
from lightning_diag._judge.judge import Judge
from lightning_diag.detectors import LossSpike
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.record import RecordSink


class Steps(pl.Callback):
    """Thread CPU time of each step, sampled and plain ones apart; the first steps are left out."""

    def __init__(self, diag: Diagnostics, warmup: int = 20) -> None:
        self.diag, self.warmup = diag, warmup
        self.seconds: dict[bool, list[float]] = {False: [], True: []}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The step begins, before any of ours."""
        self.start = time.thread_time()

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Remember whether it is sampled."""
        session = self.diag._session
        self.sampled = session is not None and session.pipeline.sampling


class Last(pl.Callback):
    """Books the step when all others are done."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Book it."""
        if trainer.global_step > self.steps.warmup:
            self.steps.seconds[self.steps.sampled].append(time.thread_time() - self.steps.start)


class Operations(TorchDispatchMode):
    """Counts operations that launch a kernel on an accelerator: all but views and what only makes memory."""

    VIEWS = frozenset(
        ("view", "_unsafe_view", "t", "transpose", "permute", "slice", "select", "expand", "unsqueeze", "squeeze",
         "detach", "alias", "as_strided", "unbind", "split", "empty", "empty_like", "new_empty", "unfold", "reshape",
         "empty_strided", "split_with_sizes", "chunk", "movedim", "view_as_real", "unflatten", "flatten")
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one, and do it."""
        name = func.overloadpacket.__name__
        self.count += name not in self.VIEWS
        return func(*args, **(kwargs or {}))


class Count(Steps):
    """Counts operations instead of seconds."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The step begins."""
        self.mode = Operations()
        self.mode.__enter__()


class LastCount(Last):
    """Books the step's operations."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Book them."""
        steps = self.steps
        assert isinstance(steps, Count)
        steps.mode.__exit__(None, None, None)
        if trainer.global_step > steps.warmup:
            steps.seconds[steps.sampled].append(steps.mode.count)


def _fit(net: nn.Module, inputs: int, classes: int, steps: int, clock: Steps, last: Last, diag: Diagnostics) -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(256, inputs), torch.randint(classes, (256,)))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        pl.Trainer(
            max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            callbacks=[clock, diag, last],
        ).fit(Task(net, False), DataLoader(data, batch_size=32))  # fmt: skip


def operations(net: nn.Module, inputs: int = 32, classes: int = 10, steps: int = 120) -> tuple[int, int]:
    """Return operations of a plain step and operations that sampling adds, past the dense start."""
    diag = Diagnostics(every_n_steps=2, sinks=[MemorySink()], strict=True)
    count = Count(diag, warmup=80)
    _fit(net, inputs, classes, steps, count, LastCount(count), diag)
    plain, sampled = (statistics.median(count.seconds[kind]) for kind in (False, True))
    return int(plain), int(sampled - plain)


def sample_cost(net: nn.Module, inputs: int, classes: int, steps: int = 80) -> tuple[float, float, int]:
    """Return ms of a plain step, ms that sampling adds, and floats in the packet; every second step is sampled."""
    memory = MemorySink()
    diag = Diagnostics(every_n_steps=2, sinks=[memory], strict=True)
    clock = Steps(diag)
    _fit(net, inputs, classes, steps, clock, Last(clock), diag)
    plain, sampled = (statistics.median(clock.seconds[kind]) for kind in (False, True))
    floats = max(sum(np.size(v) for v in reading.values.values()) for reading in memory.readings)
    return 1e3 * plain, 1e3 * (sampled - plain), floats


def stack(depth: int, width: int, inputs: int = 32, classes: int = 10) -> nn.Module:
    """A plain MLP."""
    layers: list[nn.Module] = [nn.Linear(inputs, width), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _nets(rows: list[tuple[str, nn.Module, int, int]]) -> list[str]:
    table = ["| size | bare step, ms | a sample adds, ms | floats in its packet |", "|---|---|---|---|"]
    for label, net, inputs, classes in rows:
        plain, added, floats = sample_cost(net, inputs, classes)
        table.append(f"| {label} | {plain:.2f} | {added:.2f} | {floats} |")
        print(table[-1], flush=True)
    return table


def tensors() -> list[str]:
    """Against the number of parameter tensors, width 16."""
    return _nets([(f"{2 * d} tensors", stack(d, 16), 32, 10) for d in (5, 25, 100, 250, 500)])


def launches() -> list[str]:
    """Operations that would launch a kernel, against the number of parameter tensors; two and a ReLU a layer."""
    table = ["| size | operations of a plain step | a sample adds |", "|---|---|---|"]
    for depth in (5, 25, 100):
        plain, added = operations(stack(depth, 16))
        table.append(f"| {2 * depth} tensors | {plain} | {added} |")
        print(table[-1], flush=True)
    return table


def parameters() -> list[str]:
    """Against the number of parameters in six tensors."""
    return _nets([(f"{w * w / 1e6:.2g} M parameters", stack(3, w), 32, 10) for w in (100, 316, 1000, 3162)])


def classes() -> list[str]:
    """Against the number of classes."""
    return _nets([(f"{k} classes", stack(3, 64, classes=k), 32, k) for k in (10, 100, 1000, 10_000)])


def _rank(rank: int, world: int, port: int, sizes: list[int], out: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    for size in sizes:
        flat, times = torch.zeros(size), []
        for _ in range(30):
            start = time.perf_counter()
            torch.distributed.all_reduce(flat)
            times.append(time.perf_counter() - start)
        if rank == 0:
            out.put((size, statistics.median(times)))
    torch.distributed.destroy_process_group()


def ranks() -> list[str]:
    """Against the size of the one message of a sampled step: gloo on loopback, two processes."""
    sizes = [1_000, 10_000, 100_000, 1_000_000]
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    workers = [context.Process(target=_rank, args=(r, 2, 29_611, sizes, out)) for r in range(2)]
    for worker in workers:
        worker.start()
    found = [out.get(timeout=60) for _ in sizes]
    for worker in workers:
        worker.join(timeout=60)
    table = ["| floats | bytes | all_reduce over 2 ranks, ms |", "|---|---|---|"]
    table += [f"| {size} | {4 * size} | {1e3 * seconds:.2f} |" for size, seconds in found]
    print("\n".join(table), flush=True)
    return table


def steps() -> list[str]:
    """Against the number of steps: record and report of a loss at every step, 100 parameters at every 100th."""
    table = [
        "| steps | record, MB | bytes a step | judging and writing, us a step | report, s | report, MB |",
        "|---|---|---|---|---|---|",
    ]
    for count in (1_000, 10_000, 100_000, 1_000_000):
        with tempfile.TemporaryDirectory() as folder:
            seconds = _write(Path(folder), count)
            size = sum(f.stat().st_size for f in Path(folder).iterdir())
            start = time.process_time()
            page = report.write(Path(folder))
            drawn = time.process_time() - start
            table.append(
                f"| {count} | {size / 1e6:.1f} | {size / count:.0f} | {1e6 * seconds / count:.1f} | {drawn:.1f} "
                f"| {Path(page).stat().st_size / 1e6:.2f} |"
            )
            print(table[-1], flush=True)
    return table


def _write(folder: Path, count: int) -> float:
    rng = np.random.default_rng(0)
    names = tuple(f"layer{i}.weight" for i in range(100))
    facts = Facts(planned_steps=count, chance_loss=2.3, names={"parameter": names, "group": ("Adam group 0",)})
    judge, sink = Judge([LossSpike()]), RecordSink()
    sink.open(RunInfo(folder, "growth"))
    losses = 2.3 * np.exp(-np.arange(count) / (0.2 * count)) * np.exp(0.1 * rng.standard_normal(count)) + 0.1
    start, block = time.process_time(), []
    for step, loss in enumerate(losses, 1):
        values: dict[str, Any] = {"loss/train": np.float64(loss)}
        if step % 100 == 0:
            norms = rng.random(100)
            values |= {"lr": np.array([1e-3]), "grad/norm": np.float64(norms.max()), "grad/parameter_norm": norms,
                       "update/parameter_ratio": 1e-3 * norms, "weight/parameter_norm": norms}  # fmt: skip
        reading = judge.enrich(Reading(step, 0, values, facts))
        judge.update(reading)
        block.append(reading)
        if len(block) == 64:
            sink.block(block)
            block = []
    sink.block(block)
    sink.close(Diagnosis())
    return time.process_time() - start


CURVES: dict[str, Callable[[], list[str]]] = {
    "tensors": tensors,
    "launches": launches,
    "parameters": parameters,
    "classes": classes,
    "ranks": ranks,
    "steps": steps,
}


def growth(chosen: list[str]) -> list[str]:
    """Measure the curves; return Markdown."""
    lines: list[str] = []
    for name in chosen:
        doc = (CURVES[name].__doc__ or "").strip()
        print(f"\n{doc}\n", flush=True)
        lines += ["", doc, "", *CURVES[name]()]
    return lines
