"""What watching the data costs: host memory and time at ten million samples, and a plain training step.

``python -m benchmarks.data_cost`` (about 3 minutes on one core).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import DataMonitor, Diagnostics
from lightning_diag.streaming.sample_tally import SampleTally

CHUNK = 50_000
VAL, LEAKED = 100_000, 1000
PAIRS, WARM, TIMED = 10, 150, 300


def fed(samples: int) -> tuple[float, float, dict[str, float], float]:
    """Feed a tally with so many different samples, 1 % of them twice; return MB, seconds, what it tells, seconds."""
    rng = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tally, spent = SampleTally(), 0.0
    kept = np.empty((0, 3))
    for first in range(0, samples, CHUNK):
        rows = np.full((CHUNK, 9), np.nan)
        rows[:, :3] = rng.integers(0, 2**21, (CHUNK, 3))
        rows[:, 3], rows[:, 4], rows[:, 5], rows[:, 6] = rng.integers(0, 10, CHUNK), rng.normal(size=CHUNK), 1, 0
        rows[:, 7], rows[:, 8] = np.arange(CHUNK), first // CHUNK
        if len(kept) < LEAKED:
            kept = np.concatenate([kept, rows[: max(1, LEAKED * CHUNK // samples), :3]])
        rows[CHUNK // 2 : CHUNK // 2 + CHUNK // 100] = rows[: CHUNK // 100]
        start = time.perf_counter()
        tally.train(rows)
        spent += time.perf_counter() - start
    val = np.zeros((VAL, 5))
    val[:, :3], val[:, 4] = rng.integers(0, 2**21, (VAL, 3)), np.arange(VAL)
    val[: len(kept), :3] = kept[:VAL]
    start = time.perf_counter()
    tally.validation(val)
    told, _ = tally.tell(replacement=False, borrowed=False)
    told["leaked_really"] = len(kept)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return grown, spent, told, time.perf_counter() - start


def memory() -> Iterator[str]:
    """One row a number of samples, each in a process of its own."""
    head = "samples seen", "host memory", "us a sample", "remembered", "repeats told (1 %)", "leaked told (really)"
    yield f"| {' | '.join(head)} | told in |"
    yield "|---|---|---|---|---|---|---|"
    for samples in (100_000, 1_000_000, 4_000_000, 10_000_000):
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.data_cost", str(samples)], check=True, capture_output=True, text=True
        )
        yield made.stdout.strip()


class _Timed(pl.Callback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step in (WARM, WARM + TIMED):
            self.times.append(time.perf_counter())


class _Net(pl.LightningModule):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(3072, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def step_s(width: int, watched: bool, root: Path) -> float:
    """Seconds a step of one training."""
    pl.seed_everything(0, verbose=False)
    x, y = torch.randn(2048, 3072), torch.randint(10, (2048,))
    timed = _Timed()
    watch = [Diagnostics([DataMonitor()], sinks=[], strict=True)] if watched else []
    trainer = pl.Trainer(
        max_steps=WARM + TIMED, accelerator="cpu", callbacks=[*watch, timed], default_root_dir=str(root), logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(_Net(width), DataLoader(TensorDataset(x, y), 64, shuffle=True))
    return (timed.times[1] - timed.times[0]) / TIMED


def steps() -> Iterator[str]:
    """Paired ratios of step times, watched over plain, in turn."""
    yield f"| network | plain step, ms | watched over plain, median of {PAIRS} pairs | quartiles |\n|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        for width in (256, 1024):
            plain, ratios = [], []
            for pair in range(PAIRS):
                turns = (False, True) if pair % 2 else (True, False)
                made = {watched: step_s(width, watched, Path(folder)) for watched in turns}
                plain.append(made[False])
                ratios.append(made[True] / made[False])
            low, high = np.quantile(ratios, [0.25, 0.75])
            told = f"{1e3 * median(plain):.2f} | {median(ratios):.4f} | {low:.4f} to {high:.4f}"
            yield f"| 3072-{width}-10, batch 64 | {told} |"


def report() -> Iterator[str]:
    """The section of the page."""
    yield "\n## Memory and time of the ledger\n"
    yield "Synthetic keys of different samples, 1 % of the rows twice; 100,000 validation samples, 1,000 leaked.\n"
    yield from memory()
    yield "\nBeyond 4.2 million different samples a half, then a quarter of them is remembered, chosen by key: shares"
    yield "stay unbiased, and one of `p` has a standard error of `sqrt(p (1 - p) / (remembered samples))`.\n"
    yield "\n## A training step on the CPU\n"
    yield f"Steps {WARM} to {WARM + TIMED} of whole trainings, one thread, in turn.\n"
    yield from steps()


def main() -> None:
    """Print one row of the memory table, or the section."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        samples = int(sys.argv[1])
        grown, spent, told, last = fed(samples)
        leaked = f"{told['leaked_samples']:.0f} ({told['leaked_really']:.0f})"
        row = f"{grown:.0f} MB | {1e6 * spent / samples:.2f} | {told['kept_frac']:.3g} | {told['duplicate_frac']:.4f}"
        print(f"| {samples:,} | {row} | {leaked} | {last:.2f} s |")
        return
    for line in report():
        print(line, flush=True)


if __name__ == "__main__":
    main()
