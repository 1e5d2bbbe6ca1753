"""What watching costs: paired, interleaved blocks of real Lightning training in one process, as a ratio to bare.

    python -m benchmarks.overhead [--net cnn gpt mlp] [--variant ...] [--blocks 7] [--steps 0] [--out FILE]

Each block trains the same net on the same batches for a few steps, bare and with each variant in turn, in an order that
rotates from block to block. Compared is the time from the start of the first measured step to the end of the last (the
first steps of a block are warm-up and not measured; set-up and tear-down of a fit are not either). CPU time of the
process is the main figure, because a shared machine's wall clock is noisy; wall time stands beside it. One thread.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

# ---------------------------------------------------------------- nets


class Block(nn.Module):
    """Basic residual block of ResNet-18 (He et al. 2016)."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.short = nn.Sequential()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.short(x))


def resnet18() -> nn.Module:
    """ResNet-18 for 32 x 32 images: 62 parameter tensors, 11.2 M parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    for cin, cout, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [Block(cin, cout, stride), Block(cout, cout, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Transformer(nn.Module):
    """A small GPT: 5 M parameters, width 256, 6 layers, 4 heads, context 128, vocabulary 512."""

    def __init__(self, width: int = 256, layers: int = 6, vocabulary: int = 512, context: int = 128) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        h = self.token(x) + self.position.weight[: x.shape[1]]
        return self.head(self.norm(self.body(h, mask=self.mask, is_causal=True)))


def mlp200() -> nn.Module:
    """100 layers of width 128: 200 parameter tensors, a step of a few milliseconds."""
    layers: list[nn.Module] = []
    for _ in range(99):
        layers += [nn.Linear(128, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


class Task(pl.LightningModule):
    """A user's module: a net, cross-entropy, AdamW."""

    def __init__(self, net: nn.Module, text: bool) -> None:
        super().__init__()
        self.net, self.text = net, text

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        x, y = batch
        out = self.net(x)
        return F.cross_entropy(out.movedim(-1, 1) if self.text else out, y)

    def configure_optimizers(self) -> Any:
        """AdamW, small steps."""
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


def _images() -> TensorDataset:
    g = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(256, 3, 32, 32, generator=g), torch.randint(10, (256,), generator=g))


def _text() -> TensorDataset:
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(512, (64, 129), generator=g)
    return TensorDataset(ids[:, :-1], ids[:, 1:])


def _vectors() -> TensorDataset:
    g = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(2048, 128, generator=g), torch.randint(10, (2048,), generator=g))


# name -> (net, data, batch size, text, measured steps, warm-up steps)
NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], TensorDataset], int, bool, int, int]] = {
    "cnn": (resnet18, _images, 64, False, 3, 1),
    "gpt": (Transformer, _text, 8, True, 10, 2),
    "mlp": (mlp200, _vectors, 64, False, 300, 60),
}

# ---------------------------------------------------------------- variants


class GradNormRecipe(pl.Callback):
    """Lightning's documented recipe: ``grad_norm`` in ``on_before_optimizer_step``, logged at every step."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure as the variant does."""
        from lightning.pytorch.utilities import grad_norm

        pl_module.log_dict(grad_norm(pl_module, norm_type=2))


class HandWritten(pl.Callback):
    """The hook people copy from blogs: ``p.grad.norm().item()`` and weight norm a parameter, kept in a dict."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure as the variant does."""
        self.last = {
            n: (p.grad.norm().item(), p.detach().norm().item())
            for n, p in pl_module.named_parameters()
            if p.grad is not None
        }


class Floor(pl.Callback):
    """The least any gradient monitor can do: one fused norm and one number."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure as the variant does."""
        grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.last = torch.stack(torch._foreach_norm(grads)).norm().item()


class Watch(pl.Callback):
    """``wandb.watch`` on an offline run."""

    def __init__(self, log: str, freq: int, folder: str) -> None:
        self.log, self.freq, self.folder = log, freq, folder

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Open an offline run and watch."""
        import wandb

        self.run = wandb.init(mode="offline", dir=self.folder, settings=wandb.Settings(silent=True))
        self.run.watch(pl_module, log=self.log, log_freq=self.freq)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Log a row, at which the run sends what it watched."""
        self.run.log({"step": trainer.global_step})

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the run."""
        self.run.unwatch(pl_module)
        self.run.finish()


def variants(folder: str) -> dict[str, Callable[[], list[Any]]]:
    """Name -> callbacks of a variant."""
    from lightning_diag import Diagnostics

    def ours(**options: Any) -> Callable[[], list[Any]]:
        return lambda: [Diagnostics(run_dir=Path(folder) / f"run-{time.time_ns()}", strict=True, **options)]

    return {
        "bare": list,
        "Diagnostics()": ours(),
        "Diagnostics(every_n_steps=1)": ours(every_n_steps=1),
        "Diagnostics, never sampled": ours(every_n_steps=10**9),
        "Lightning grad_norm recipe": lambda: [GradNormRecipe()],
        "hand-written hook": lambda: [HandWritten()],
        "one _foreach_norm": lambda: [Floor()],
        "wandb.watch gradients, log_freq=1": lambda: [Watch("gradients", 1, folder)],
        "wandb.watch gradients, log_freq=100": lambda: [Watch("gradients", 100, folder)],
        "wandb.watch all, log_freq=1": lambda: [Watch("all", 1, folder)],
    }


# ---------------------------------------------------------------- measuring


class Clock(pl.Callback):
    """Times from the start of the first measured step to the end of the last."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.cpu = self.wall = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start the clock after the warm-up."""
        if trainer.global_step == self.warmup:
            self.start = time.process_time(), time.perf_counter()


class Stop(pl.Callback):
    """The last callback: reads the clock when all others are done."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Read both clocks after each measured step."""
        if trainer.global_step > self.clock.warmup:
            self.clock.cpu = time.process_time() - self.clock.start[0]
            self.clock.wall = time.perf_counter() - self.clock.start[1]


def block(name: str, callbacks: list[Any], steps: int, folder: str) -> tuple[float, float]:
    """Train one block; return CPU and wall seconds a measured step."""
    make, data, size, text, _, warmup = NETS[name]
    pl.seed_everything(0, verbose=False)
    clock = Clock(warmup)
    trainer = pl.Trainer(
        max_steps=warmup + steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        callbacks=[clock, *callbacks, Stop(clock)],
    )  # fmt: skip
    trainer.fit(Task(make(), text), DataLoader(data(), batch_size=size))
    return clock.cpu / steps, clock.wall / steps


def measure(name: str, chosen: list[str], blocks: int, steps: int) -> list[str]:
    """Return Markdown rows for one net."""
    steps = steps or NETS[name][4]
    with tempfile.TemporaryDirectory() as folder:
        made = variants(folder)
        order = ["bare", *(v for v in chosen if v != "bare")]
        seconds: dict[str, list[tuple[float, float]]] = {v: [] for v in order}
        for turn in range(blocks):
            shift = turn % len(order)
            for v in order[shift:] + order[:shift]:
                with contextlib.redirect_stderr(io.StringIO()):
                    seconds[v].append(block(name, made[v](), steps, folder))
    rows = []
    for v in order:
        cpu = [a[0] / b[0] for a, b in zip(seconds[v], seconds["bare"], strict=True)]
        wall = [a[1] / b[1] for a, b in zip(seconds[v], seconds["bare"], strict=True)]
        ms = 1e3 * statistics.median(s[0] for s in seconds[v])
        rows.append(
            f"| {name} | {v} | {ms:.2f} | {statistics.median(cpu):.4f} | {min(cpu):.3f} to {max(cpu):.3f} "
            f"| {statistics.median(wall):.4f} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and print; write Markdown with ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--variant", nargs="+", default=None)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--steps", type=int, default=0, help="measured steps a block; 0 = the net's own number")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    chosen = arguments.variant or list(variants(""))
    head = [
        f"torch {torch.__version__}, lightning {pl.__version__}, Python {platform.python_version()}, one CPU thread, "
        f"{arguments.blocks} paired blocks, {datetime.now(timezone.utc):%Y-%m-%d}.",
        "",
        "| net | variant | CPU ms a step (median) | ratio to bare, CPU (median) | range | ratio to bare, wall |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(head), flush=True)
    rows = [row for name in arguments.net for row in measure(name, chosen, arguments.blocks, arguments.steps)]
    if arguments.out:
        arguments.out.write_text("\n".join([*head, *rows, ""]))


if __name__ == "__main__":
    main()
