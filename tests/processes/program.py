"""Trainings in several processes, each a named case: `python program.py FOLDER CASE...` writes what every rank saw.

Forked processes start in a tenth of a second, so one interpreter runs all cases one after the other.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Diagnostics, MemorySink

STEPS = 24


class Net(pl.LightningModule):
    """A classifier on 32 random features."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(33, 17), nn.ReLU(), nn.Linear(17, 10), nn.ReLU(), nn.Linear(10, 5))
        self.lr = lr

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def data(n: int = 256, seed: int = 0) -> TensorDataset:
    """Return features and the classes that a random linear map gives them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 33, generator=generator)
    weight = torch.randn(33, 5, generator=torch.Generator().manual_seed(9))
    return TensorDataset(x, (x @ weight).argmax(1))


class Order(torch.utils.data.Sampler[int]):
    """Rank ``r`` of ``n`` gets every n-th half of each global batch, so that n processes see what one does."""

    def __init__(self, rank: int, world: int, size: int = 256, batch: int = 16) -> None:
        self.part = [
            i
            for start in range(0, size, batch)
            for i in range(start + rank * batch // world, start + (rank + 1) * batch // world)
        ]

    def __iter__(self) -> Any:
        return iter(self.part)

    def __len__(self) -> int:
        return len(self.part)


class Data(pl.LightningDataModule):
    """The same global batches whatever the number of processes."""

    def _loader(self, dataset: TensorDataset, batch: int = 16) -> DataLoader[Any]:
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(dataset, batch_size=batch // world, sampler=Order(rank, world, len(dataset), batch))

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(data())

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(data(64, seed=1))


class Report(pl.Callback):
    """Writes what this rank knows at the end."""

    def __init__(self, diag: Diagnostics, sink: MemorySink, path: Path) -> None:
        self.diag, self.sink, self.path = diag, sink, path

    def write(self, trainer: Any, module: Any, end: str) -> None:
        session = self.diag._session
        assert session is not None
        seen = {
            "end": end,
            "steps": trainer.global_step,
            "findings": [f.to_dict() for f in self.diag.findings],
            "verdict": self.diag.diagnosis.verdict,
            "skipped": dict(self.diag.diagnosis.coverage.skipped),
            "ran": list(self.diag.diagnosis.coverage.ran),
            "failed": session.guard.failed,
            "run_dir": None if self.diag.run_dir is None else str(self.diag.run_dir),
            "unmeasured": dict(session.pipeline.facts.unmeasured),
            "readings": [
                {"step": r.step, "stage": r.stage, "values": {n: np.asarray(v).tolist() for n, v in r.values.items()}}
                for r in self.sink.readings
            ],
            "weights": {n: _whole(p).flatten().tolist() for n, p in module.named_parameters()},
        }
        (self.path / f"rank{trainer.global_rank}.json").write_text(json.dumps(seen))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.write(trainer, pl_module, "fit")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.write(trainer, pl_module, repr(exception))


def _whole(parameter: Tensor) -> Tensor:
    full = getattr(parameter, "full_tensor", None)
    whole: Tensor = parameter if full is None else full()
    return whole.detach()


def fit(
    folder: Path,
    module: pl.LightningModule | None = None,
    *,
    devices: int = 2,
    strategy: Any = "ddp_fork",
    datamodule: pl.LightningDataModule | None = None,
    diag: dict[str, Any] | None = None,
    callbacks: tuple[pl.Callback, ...] = (),
    **trainer: Any,
) -> None:
    """Train and leave ``rank0.json``, ``rank1.json`` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sink = MemorySink()
    watched = Diagnostics(**{"every_n_steps": 1, "sinks": [sink], "strict": True, **(diag or {})})
    made = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="auto" if devices == 1 else strategy,
        callbacks=[watched, *callbacks, Report(watched, sink, folder)],
        default_root_dir=str(folder),
        **{
            "max_steps": STEPS,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
            "num_sanity_val_steps": 0,
            **trainer,
        },
    )
    made.fit(Net() if module is None else module, datamodule or Data())


CASES: dict[str, Callable[[Path], None]] = {}


def case(call: Callable[[Path], None]) -> Callable[[Path], None]:
    CASES[call.__name__] = call
    return call


@case
def one_process(folder: Path) -> None:
    fit(folder, devices=1)


@case
def two_processes(folder: Path) -> None:
    fit(folder)


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        print(name, flush=True)
        try:
            CASES[name](folder / name)
        except Exception:
            traceback.print_exc()


if __name__ == "__main__":
    main()
