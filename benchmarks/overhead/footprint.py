"""What is neither time a step nor growth: import time, memory, bytes of the record, time to close."""

from __future__ import annotations

import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from benchmarks.overhead.nets import NETS, Task
from lightning_diag import Diagnostics

_IMPORT = (
    "import time, lightning.pytorch; t = time.perf_counter(); "
    "import lightning_diag; {then}print(time.perf_counter() - t)"
)


def import_ms(then: str = "") -> float:
    """Median milliseconds that the import adds to that of Lightning, over five fresh processes."""
    code = _IMPORT.format(then=then)
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return 1e3 * statistics.median(float(r.stdout) for r in runs)


def rss_mb() -> float:
    """Resident memory of this process in MB (Linux)."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * 4096 / 1e6


class Watch(pl.Callback):
    """Resident memory now and then, and when training ends."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.memory: list[tuple[int, float]] = []
        self.ended = 0.0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Look at the memory."""
        if trainer.global_step % self.every == 0:
            self.memory.append((trainer.global_step, rss_mb()))

    def on_train_end(self, *_: Any) -> None:
        """Start the clock of closing."""
        self.ended = time.perf_counter()


def long_run(steps: int) -> tuple[list[tuple[int, float]], float, int]:
    """Train a tiny net for long; return memory over steps, seconds to close, bytes of the record."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(128, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    watch = Watch(max(1, steps // 10))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        diag = Diagnostics(run_dir=Path(folder) / "run", strict=True)
        trainer = pl.Trainer(
            max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, callbacks=[watch, diag],
        )  # fmt: skip
        trainer.fit(Task(net, False), DataLoader(NETS["mlp"].data(), batch_size=64))
        close_s = time.perf_counter() - watch.ended
        assert diag.run_dir is not None
        size = sum(f.stat().st_size for f in diag.run_dir.iterdir() if f.name != "report.html")
    return watch.memory, close_s, size


def footprint(steps: int) -> list[str]:
    """Measure; return Markdown."""
    memory, close_s, size = long_run(steps)
    first = next(m for s, m in memory if s >= steps // 5)
    lines = [
        "| what | measured |",
        "|---|---|",
        f"| `import lightning_diag` after Lightning | {import_ms():.1f} ms |",
        f"| and `Diagnostics`, at first use | {import_ms('lightning_diag.Diagnostics; '):.0f} ms |",
        f"| record, bytes per 1,000 steps (MLP of 4 tensors, {steps} steps, default) | {1000 * size / steps:.0f} |",
        f"| resident memory after {steps // 5} and {steps} steps | {first:.1f} and {memory[-1][1]:.1f} MB |",
        f"| end of training to end of `fit`, report drawn | {close_s:.2f} s |",
    ]
    print("\n".join(lines), flush=True)
    return lines
