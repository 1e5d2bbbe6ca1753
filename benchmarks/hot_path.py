"""What a step costs on the host: every hook of ours timed by itself, inside real Lightning training.

    python -m benchmarks.hot_path [--steps 1650] [--repeats 3]

Timed is the CPU time of the training thread (other processes of a shared machine don't count, their use of the caches
does), less what reading that clock costs. Plain steps are judged in blocks of up to 256, so means over 512 steps are
compared, and the least of them is shown; the median step stands beside it. Steps whose batch the data monitor hashes
(it may take 0.3 % of step time, whatever a step takes) are in that mean, and not in the one beside it. The plan is
100,000 steps long: rules that look at the curve every 0.5 % of the plan look seldom, as in a long run. The quarter of
a second in which the data monitor hashes every batch is taken away: over a plan of that length it is 2.5 us a step, and
it would fill these 1,650. Forward hooks are not in it: see ``benchmarks.overhead``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Diagnostics
from lightning_diag._pipeline.step import Pipeline
from lightning_diag.probes import data_content

HOOKS = ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_train_batch_end")
WARMUP, WINDOW, PLAN = 50, 512, 100_000


class Task(pl.LightningModule):
    """A classifier of ``layers`` linear layers."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        body = [module for _ in range(layers - 1) for module in (nn.Linear(width, width), nn.ReLU())]
        self.net = nn.Sequential(*body, nn.Linear(width, 10))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy of a batch."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


class Timer(pl.Callback):
    """Adds up what is timed, step by step; ends the run after ``steps``."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.hashed: list[bool] = []
        self.diag: Diagnostics | None = None
        self.now = 0.0
        self.seconds: list[float] = []
        self.by_hook: dict[str, float] = defaultdict(float)
        self.clock_s = min(_elapsed(time.thread_time()) for _ in range(10_000))

    def around(self, name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return inner(*args, **kwargs)
            finally:
                spent = max(0.0, _elapsed(start) - self.clock_s)
                self.now += spent
                self.by_hook[name] += spent

        return timed

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Book the step."""
        self.seconds.append(self.now)
        session = None if self.diag is None else self.diag._session
        plain = None if session is None else session.pipeline.plain
        self.hashed.append(plain is not None and plain.wanted)
        self.now = 0.0
        trainer.should_stop = len(self.seconds) >= self.steps


def _elapsed(start: float) -> float:
    return time.thread_time() - start


def run(layers: int, width: int, every: int, steps: int, *, empty: bool = False) -> Timer:
    """Train once; return the timer. With ``empty`` hooks that do nothing are timed."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(2048, width), torch.randint(10, (2048,)))
    timer = Timer(steps)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        diag = Diagnostics(run_dir=Path(folder) / "run", every_n_steps=every, strict=True)
        timer.diag = diag
        for name in HOOKS:
            setattr(diag, name, timer.around(name, (lambda *_: None) if empty else getattr(diag, name)))
        after = Pipeline.after_update
        Pipeline.after_update = timer.around("after_update", after)  # type: ignore[method-assign]
        trainer = pl.Trainer(
            max_steps=PLAN, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder, callbacks=[diag, timer],
        )  # fmt: skip
        grace, data_content.GRACE_S = data_content.GRACE_S, 0.0
        try:
            trainer.fit(Task(layers, width), DataLoader(data, batch_size=16))
        finally:
            Pipeline.after_update = after  # type: ignore[method-assign]
            data_content.GRACE_S = grace
    return timer


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1650)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    print("| net | step | median, us | least mean of 512 steps, us | nothing hashed | by hook (mean, us) |")
    print("|---|---|---|---|---|---|")
    for net, layers, width in (("2 layers", 2, 64), ("100 layers", 100, 32)):
        for kind, every in (("empty hooks", 10**9), ("plain", 10**9), ("sampled", 1)):
            empty = kind == "empty hooks"  # what the timing itself costs
            timers = [run(layers, width, every, arguments.steps, empty=empty) for _ in range(arguments.repeats)]
            rows = [timer.seconds[WARMUP:] for timer in timers]
            few = [[s for s, h in zip(timer.seconds, timer.hashed, strict=True) if not h][WARMUP:] for timer in timers]
            median = min(statistics.median(s) for s in rows)
            best = min(timers, key=lambda timer: sum(timer.by_hook.values()))
            hooks = ", ".join(f"{name} {1e6 * s / arguments.steps:.1f}" for name, s in best.by_hook.items())
            print(f"| {net} | {kind} | {1e6 * median:.1f} | {_least(rows)} | {_least(few)} | {hooks} |", flush=True)


def _least(rows: list[list[float]]) -> str:
    """The least mean of successive steps in microseconds, in words."""
    means = [statistics.fmean(s[i : i + WINDOW]) for s in rows for i in range(0, len(s) - WINDOW, WINDOW // 4)]
    return f"{1e6 * min(means):.1f}" if means else "-"


if __name__ == "__main__":
    main()
