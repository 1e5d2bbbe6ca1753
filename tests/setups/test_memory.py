"""Memory per step stays flat: nothing of ours grows with the length of a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from lightning_diag import Diagnostics
from tests.training import fit

STEPS, WARM = 20_000, 8_000
MOST_BYTES = 100  # a step, of the trend over the rest: allocators and caches wobble by less


class Tiny(pl.LightningModule):
    """A network so small that its steps take half a millisecond, most of it Lightning's."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def validation_step(self, *_: Any) -> None:
        """There is none."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


class Batches:
    """The same eight batches again and again, at no cost."""

    def __init__(self) -> None:
        x = torch.randn(8, 16, 4, generator=torch.Generator().manual_seed(0))
        self.batches = [(part, (part[:, 0] > 0).long()) for part in x]

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Any:
        return (self.batches[i % 8] for i in range(STEPS))


class Meter(pl.Callback):
    """Notes the memory of the process every 500 steps, and leaks so many bytes a step."""

    def __init__(self, leak_bytes: int) -> None:
        self.leak_bytes = leak_bytes
        self.kept: list[bytes] = []
        self.steps: list[float] = []
        self.resident: list[float] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if self.leak_bytes:
            self.kept.append(os.urandom(self.leak_bytes))
        if trainer.global_step > WARM and trainer.global_step % 500 == 0:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.steps.append(trainer.global_step)
            self.resident.append(pages * os.sysconf("SC_PAGE_SIZE"))

    @property
    def bytes_a_step(self) -> float:
        """Median slope between all pairs (Theil-Sen): one jump of an allocator doesn't count."""
        n = range(len(self.steps))
        slopes = [
            (self.resident[j] - self.resident[i]) / (self.steps[j] - self.steps[i]) for i in n for j in n if i < j
        ]
        return sorted(slopes)[len(slopes) // 2]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("leak_bytes", "flat"), [(0, True), (300, False)], ids=["ours", "a planted leak"])
def test_memory_per_step_is_flat(leak_bytes: int, flat: bool, tmp_path: Path) -> None:
    meter = Meter(leak_bytes)
    fit(Tiny(), [Diagnostics(strict=True), meter], tmp_path, steps=STEPS, train=Batches(), limit_val_batches=0)
    assert len(meter.steps) == (STEPS - WARM) // 500
    assert (meter.bytes_a_step < MOST_BYTES) == flat, (meter.bytes_a_step, meter.resident)
