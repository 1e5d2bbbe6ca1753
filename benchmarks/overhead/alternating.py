"""What one measured step costs, within one run: it and the next step against the two after them.

Two trainings never share a moment of the machine, nor the layout of their memory: the same bare training twice differs
by some per cent here. So every variant measures each fourth step of one training and pauses in between. What a sample
costs is the CPU time of that step and the next (which pays what was put off) less that of the two after them; the ratio
to bare is one plus that cost over a step of the latter two. What a variant does in every step, measured or not, is not
in it: see ``benchmarks.hot_path`` for ours.
"""

from __future__ import annotations

import contextlib
import io
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks.overhead.nets import train
from benchmarks.overhead.peers import (
    ComposerActivationMonitor,
    ComposerOptimizerMonitor,
    Floor,
    GradNormRecipe,
    HandWritten,
    Watch,
)
from lightning_diag import ActivationMonitor, Diagnostics, GradientMonitor

PERIOD = 4
HEAD = (
    "| net | measured | pairs | bare, ms a step | ms a sample | measured step over bare | 95 % interval |",
    "|---|---|---|---|---|---|---|",
)


class Fourth(pl.Callback):
    """Lets a callback measure in every fourth step only."""

    def __init__(self, inner: pl.Callback) -> None:
        self.inner = inner

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure, or don't."""
        if trainer.global_step % PERIOD == 0:
            self.inner.on_before_optimizer_step(trainer, pl_module, optimizer)


class Clock(pl.Callback):
    """CPU time of the process at the start of each batch, before anybody else does anything."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Read the clock."""
        self.at.append(time.process_time())


def _ours(folder: str, **options: Any) -> Diagnostics:
    return Diagnostics(run_dir=Path(folder) / "run", every_n_steps=PERIOD, strict=True, **options)


# name -> callbacks, and the first of four steps (counted from 0) that is measured
VARIANTS: dict[str, tuple[Callable[[str], list[Any]], int]] = {
    "nothing": (lambda folder: [], 0),
    "Diagnostics": (lambda folder: [_ours(folder)], 3),
    "GradientMonitor alone": (lambda folder: [_ours(folder, monitors=[GradientMonitor()])], 3),
    "ActivationMonitor alone": (lambda folder: [_ours(folder, monitors=[ActivationMonitor()])], 3),
    "Lightning grad_norm recipe": (lambda folder: [Fourth(GradNormRecipe())], 0),
    "hand-written hook": (lambda folder: [Fourth(HandWritten())], 0),
    "one _foreach_norm": (lambda folder: [Fourth(Floor())], 0),
    "wandb.watch gradients": (lambda folder: [Watch("gradients", PERIOD, folder)], 3),
    "wandb.watch all": (lambda folder: [Watch("all", PERIOD, folder)], 3),
    "Composer OptimizerMonitor": (lambda folder: [ComposerOptimizerMonitor(PERIOD)], 0),
    "Composer ActivationMonitor": (lambda folder: [ComposerActivationMonitor(PERIOD)], 0),
}


def measure(name: str, variant: str, samples: int, warmup: int) -> str:
    """Train once; return a Markdown row. ``warmup`` periods of four steps are left out."""
    make, phase = VARIANTS[variant]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        train(name, [clock, *make(folder)], PERIOD * (warmup + samples + 1) + 1)
    starts = range(PERIOD * warmup + phase, PERIOD * (warmup + samples) + phase, PERIOD)
    pairs = [(clock.at[k + 2] - clock.at[k], clock.at[k + 4] - clock.at[k + 2]) for k in starts]
    drawn = random.Random(0)
    again = sorted(_ratio(drawn.choices(pairs, k=len(pairs))) for _ in range(1000))
    bare = statistics.median(plain for _, plain in pairs) / 2
    row = (
        f"| {name} | {variant} | {len(pairs)} | {1e3 * bare:.1f} | {1e3 * bare * (_ratio(pairs) - 1):.2f} "
        f"| {_ratio(pairs):.3f} | {again[25]:.3f} to {again[974]:.3f} |"
    )
    print(row, flush=True)
    return row


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """One measured step over one that isn't: the median over pairs, which a moment of another program doesn't move."""
    return 1 + 2 * statistics.median(measured / plain - 1 for measured, plain in pairs)


def alternating(names: Sequence[str], chosen: Sequence[str] | None, samples: int, warmup: int) -> list[str]:
    """Measure nets; return and print a Markdown table."""
    head = [
        f"torch {torch.__version__}, lightning {pl.__version__}, Python {platform.python_version()}, one CPU thread, "
        f"{datetime.now(timezone.utc):%Y-%m-%d}. Every fourth step measured, after {PERIOD * warmup} steps.",
        "",
        *HEAD,
    ]
    print("\n".join(head), flush=True)
    return [*head, *(measure(n, v, samples, warmup) for n in names for v in chosen or VARIANTS)]
