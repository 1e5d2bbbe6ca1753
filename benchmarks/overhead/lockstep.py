"""Real Lightning trainings in lockstep: a step of each variant in turn, so that a pair of steps shares a moment.

Each variant trains in a thread of its own, and only one of them runs at a time: the first callback hands the turn on
at the start of each batch, in an order that rotates from round to round. A step is everything from one batch's start
to the next one's, loading of data, logging and our own work in other hooks included. Cost is CPU time of the whole
process while the turn lasted (what a background thread does is in it, what ``wandb`` does in a process of its own is
not).

``time.perf_counter`` leaves out the turns of others, or a callback that times itself would see steps that last too
long.
"""

from __future__ import annotations

import contextlib
import io
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks.overhead.nets import NETS, Task
from benchmarks.overhead.peers import variants

HEAD = (
    "| net | variant | steps | ms a step | ratio to bare, of sums | 95 % interval | median of pairs | ratio, wall |",
    "|---|---|---|---|---|---|---|---|",
)
_real = time.perf_counter
_waited: defaultdict[int, float] = defaultdict(float)


def _own_time() -> float:
    """Seconds on the clock, less those in which this thread waited for its turn."""
    return _real() - _waited[threading.get_ident()]


class Turn(pl.Callback):
    """Waits at each batch's start until it is its variant's turn, and notes what the step before took.

    Attributes:
        spent: ``(CPU, wall)`` seconds of each step.
    """

    def __init__(self) -> None:
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.spent: list[tuple[float, float]] = []
        self.began: tuple[float, float] | None = None
        self.error: BaseException | None = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The step before is over; wait for the turn."""
        if self.began is not None:
            self.spent.append((time.process_time() - self.began[0], _real() - self.began[1]))
        waiting = _real()
        self.done.release()
        self.go.acquire()
        _waited[threading.get_ident()] += _real() - waiting
        self.began = time.process_time(), _real()

    def train(self, name: str, callbacks: list[Any], steps: int) -> None:
        """Fit the net, all of a run."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                trainer = pl.Trainer(
                    max_steps=steps, max_epochs=-1, accelerator="cpu", devices=1, logger=False,
                    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                    default_root_dir=folder, callbacks=[self, *callbacks],
                )  # fmt: skip
                net = NETS[name]
                pl.seed_everything(0, verbose=False)
                trainer.fit(Task(net.make(), net.text), net.loader())
        except BaseException as error:
            self.error = error
        finally:
            self.done.release()


def measure(name: str, chosen: Sequence[str], rounds: int, warmup: int) -> list[str]:
    """Return Markdown rows for one net: ``rounds`` measured steps of each variant after ``warmup`` others."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        made = variants(folder)
        turns = {v: Turn() for v in ("bare", *(v for v in chosen if v != "bare"))}
        threads = []
        for v, turn in turns.items():
            work = threading.Thread(target=turn.train, args=(name, made[v](), warmup + rounds + 1), daemon=True)
            work.start()
            turn.done.acquire()  # it stands at its first batch
            threads.append(work)
        order = list(turns.values())
        for k in range(warmup + rounds):
            shift = k % len(order)
            for turn in order[shift:] + order[:shift]:
                turn.go.release()
                turn.done.acquire()
        for turn in order:
            turn.go.release()
        for work in threads:
            work.join()
    for v, turn in turns.items():
        if turn.error is not None:
            raise RuntimeError(f"{v} failed") from turn.error
    return [_row(name, v, turn.spent[warmup:], turns["bare"].spent[warmup:]) for v, turn in turns.items()]


def _row(name: str, variant: str, spent: Sequence[tuple[float, float]], bare: Sequence[tuple[float, float]]) -> str:
    cpu = [(a[0], b[0]) for a, b in zip(spent, bare, strict=True)]
    drawn = random.Random(0)
    again = sorted(_ratio(drawn.choices(cpu, k=len(cpu))) for _ in range(1000))
    row = (
        f"| {name} | {variant} | {len(cpu)} | {1e3 * statistics.mean(a for a, _ in cpu):.2f} | {_ratio(cpu):.4f} "
        f"| {again[25]:.3f} to {again[974]:.3f} | {statistics.median(a / b for a, b in cpu):.4f} "
        f"| {_ratio([(a[1], b[1]) for a, b in zip(spent, bare, strict=True)]):.4f} |"
    )
    print(row, flush=True)
    return row


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs)


def lockstep(names: Sequence[str], chosen: Sequence[str] | None, rounds: int, warmup: int) -> list[str]:
    """Measure nets; return and print a Markdown table."""
    time.perf_counter = _own_time
    for module in [m for name, m in sys.modules.items() if name.startswith("lightning_diag")]:
        if hasattr(module, "perf_counter"):
            module.perf_counter = _own_time  # type: ignore[attr-defined]
    head = [
        f"torch {torch.__version__}, lightning {pl.__version__}, Python {platform.python_version()}, one CPU thread, "
        f"{datetime.now(timezone.utc):%Y-%m-%d}. Steps in lockstep, after {warmup} that were not measured.",
        "",
        *HEAD,
    ]
    print("\n".join(head), flush=True)
    every = list(variants(""))
    return [*head, *(row for n in names for row in measure(n, chosen or every, rounds, warmup))]
