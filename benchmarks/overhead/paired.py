"""Paired, interleaved blocks of real Lightning training in one process, as a ratio to bare."""

from __future__ import annotations

import contextlib
import io
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks.overhead.nets import NETS, train
from benchmarks.overhead.peers import variants

HEAD = "| net | variant | ms a step | ratio to bare (median) | range | ratio, wall | peak memory over bare |"


class Clock(pl.Callback):
    """Starts the clock at the first measured step."""

    def __init__(self, warmup: int, device: str) -> None:
        self.warmup, self.device = warmup, device
        self.cpu = self.wall = 0.0

    def now(self) -> tuple[float, float]:
        """CPU and wall seconds, once the device is done."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.process_time(), time.perf_counter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start the clock after the warm-up."""
        if trainer.global_step == self.warmup:
            self.start = self.now()


class Stop(pl.Callback):
    """The last callback: reads the clock when all others are done with the last step."""

    def __init__(self, clock: Clock, steps: int) -> None:
        self.clock, self.last = clock, clock.warmup + steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Read both clocks."""
        if trainer.global_step == self.last:
            cpu, wall = self.clock.now()
            self.clock.cpu, self.clock.wall = cpu - self.clock.start[0], wall - self.clock.start[1]


def block(name: str, callbacks: list[Any], steps: int, warmup: int, device: str) -> tuple[float, float, float]:
    """Train one block; return CPU and wall seconds a measured step, and peak device memory in bytes (0 on CPU)."""
    clock = Clock(warmup, device)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    train(name, [clock, *callbacks, Stop(clock, steps)], warmup + steps, device)
    peak = float(torch.cuda.max_memory_allocated()) if device == "cuda" else 0.0
    return clock.cpu / steps, clock.wall / steps, peak


def measure(name: str, chosen: Sequence[str], blocks: int, steps: int, warmup: int, device: str) -> list[str]:
    """Return Markdown rows for one net."""
    net = NETS[name]
    steps, warmup = steps or net.steps, net.warmup if warmup < 0 else warmup
    main = 1 if device == "cuda" else 0
    with tempfile.TemporaryDirectory() as folder:
        made = variants(folder)
        order = ["bare", *(v for v in chosen if v != "bare")]
        found: dict[str, list[tuple[float, float, float]]] = {v: [] for v in order}
        for turn in range(blocks):
            shift = turn % len(order)
            for v in order[shift:] + order[:shift]:
                with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                    found[v].append(block(name, made[v](), steps, warmup, device))
    rows = []
    for v in order:
        pairs = list(zip(found[v], found["bare"], strict=True))
        ratios = [a[main] / b[main] for a, b in pairs]
        memory = statistics.median(a[2] / b[2] for a, b in pairs) if device == "cuda" else float("nan")
        rows.append(
            f"| {name} | {v} | {1e3 * statistics.median(f[main] for f in found[v]):.2f} "
            f"| {statistics.median(ratios):.4f} | {min(ratios):.3f} to {max(ratios):.3f} "
            f"| {statistics.median(a[1] / b[1] for a, b in pairs):.4f} "
            f"| {'-' if device == 'cpu' else f'{memory:.4f}'} |"
        )
        print(rows[-1], flush=True)
    return rows


def paired(
    names: Sequence[str], chosen: Sequence[str] | None, blocks: int, steps: int, warmup: int, device: str
) -> list[str]:
    """Measure nets; return and print a Markdown table."""
    where = torch.cuda.get_device_name() if device == "cuda" else "one CPU thread"
    head = [
        f"torch {torch.__version__}, lightning {pl.__version__}, Python {platform.python_version()}, {where}, "
        f"{blocks} paired blocks, {datetime.now(timezone.utc):%Y-%m-%d}.",
        "",
        HEAD,
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(head), flush=True)
    every = list(variants(""))
    return [*head, *(r for n in names for r in measure(n, chosen or every, blocks, steps, warmup, device))]
