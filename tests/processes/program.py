"""Trainings in several processes, each a named case: `python program.py FOLDER CASE...` writes what every rank saw.

Forked processes start in a tenth of a second, so one interpreter runs all cases one after the other.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Detector, Diagnostics, Finding, MemorySink, Reading, Severity
from lightning_diag.monitors import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.base import Probe

STEPS = 24
BARE = "BARE" in os.environ  # the same trainings without us: what ends then has to end with us


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

    def __init__(self, diag: Diagnostics | None, sink: MemorySink, path: Path) -> None:
        self.diag, self.sink, self.path = diag, sink, path

    def write(self, trainer: Any, module: Any, end: str) -> None:
        if self.diag is None:
            weights = {n: _whole(p).flatten().tolist() for n, p in module.named_parameters()}
            told = json.dumps({"end": end, "steps": trainer.global_step, "weights": weights})
            (self.path / f"rank{trainer.global_rank}.json").write_text(told)
            return
        session = self.diag._session
        if session is None:
            return  # the parent of the processes, which never trained
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
        self.write(trainer, pl_module, type(exception).__name__)


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
    ckpt_path: str | None = None,
    **trainer: Any,
) -> None:
    """Train and leave ``rank0.json``, ``rank1.json`` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sink = MemorySink()
    watched = None
    if not BARE:
        watched = Diagnostics(**{"every_n_steps": 1, "sinks": [sink], "strict": True, **(diag or {})})
    made = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="auto" if devices == 1 else strategy,
        callbacks=[*(() if watched is None else (watched,)), *callbacks, Report(watched, sink, folder)],
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
    made.fit(Net() if module is None else module, datamodule or Data(), ckpt_path=ckpt_path)


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


class Sharded(Net):
    """The same, sharded over processes (FSDP2); with ``mixed`` one bias lies whole in every process."""

    def __init__(self, *, mixed: bool = False) -> None:
        super().__init__()
        self.mixed = mixed

    def configure_model(self) -> None:
        whole: set[nn.Parameter] = set()
        if self.mixed:
            bias = self.net[0].bias
            assert isinstance(bias, nn.Parameter)
            bias.register_post_accumulate_grad_hook(_averaged)
            whole.add(bias)
        assert self.device_mesh is not None
        fully_shard(self.net, mesh=self.device_mesh["data_parallel"], ignored_params=whole)


def _averaged(parameter: Tensor) -> None:
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad.div_(2))


def forked(call: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Run in two processes as ``torchrun`` would start them, for strategies that Lightning can't fork."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def child(rank: int) -> None:
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": str(rank), "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test",
        }  # fmt: skip
        call(*args, **kwargs)
        dist.destroy_process_group()

    started = mp.start_processes(child, nprocs=2, join=False, start_method="fork")  # type: ignore[attr-defined,no-untyped-call]
    for process in started.processes:  # its own join would kill the others when one fails
        process.join()


def _fsdp2(folder: Path, *, mixed: bool, **options: Any) -> None:
    fit(folder, Sharded(mixed=mixed), strategy=ModelParallelStrategy(2, 1), **options)


@case
def fsdp2(folder: Path) -> None:
    forked(_fsdp2, folder, mixed=False)


@case
def fsdp2_mixed(folder: Path) -> None:
    forked(_fsdp2, folder, mixed=True)


@case
def one_clipped(folder: Path) -> None:
    fit(folder, devices=1, gradient_clip_val=0.5)


@case
def fsdp2_clipped(folder: Path) -> None:
    forked(_fsdp2, folder, mixed=False, gradient_clip_val=0.5)


class Unsynced(Net):
    """Every process trains its own copy by hand: nothing makes one wait for another."""

    def __init__(self, skip: int = 0, stop: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.skip, self.stop = skip, stop

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        first = self.trainer.global_rank == 0
        if self.skip and not first and batch_idx % self.skip == 0:
            return None
        if self.stop and not first and batch_idx == self.stop:
            self.trainer.should_stop = True
        optimizer: Any = self.optimizers()
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        optimizer.zero_grad()
        wrapped: Any = self.trainer.strategy.model
        with wrapped.no_sync():
            self.manual_backward(loss)
        optimizer.step()
        return loss


class Uneven(Data):
    """The second process has fewer batches."""

    def __init__(self, *, train: bool = False, val: bool = False) -> None:
        super().__init__()
        self.train, self.val = train, val

    def _size(self, few: bool, size: int) -> int:
        assert self.trainer is not None
        return size - 56 if few and self.trainer.global_rank else size

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        return DataLoader(data(self._size(self.train, 256), seed=10 + self.trainer.global_rank), batch_size=8)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(data(self._size(self.val, 64), seed=1), batch_size=8)


class Raises(Net):
    """The second process fails in step 10."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_rank == 1 and self.trainer.global_step == 10:
            raise RuntimeError("the user's own")
        return super().training_step(batch, batch_idx)


@case
def uneven_synced(folder: Path) -> None:
    fit(folder, datamodule=Uneven(train=True), max_steps=60)


@case
def uneven_train(folder: Path) -> None:
    fit(folder, Unsynced(), datamodule=Uneven(train=True), max_steps=-1, max_epochs=2)


@case
def uneven_val(folder: Path) -> None:
    fit(folder, datamodule=Uneven(val=True), val_check_interval=8)


@case
def skipping(folder: Path) -> None:
    fit(folder, Unsynced(skip=3), datamodule=Uneven(), max_steps=-1, max_epochs=1)


@case
def stops_alone(folder: Path) -> None:
    fit(folder, Unsynced(stop=7), datamodule=Uneven(), max_steps=-1, max_epochs=1)


@case
def one_raises(folder: Path) -> None:
    forked(fit, folder, Raises(), strategy="ddp")


class Fragile(Probe):
    """Fails on the second rank in step 5."""

    signals = ("grad/norm",)

    def before_update(self, optimizer: int) -> None:
        self.seen = getattr(self, "seen", 0) + 1
        if self.seen == 5 and dist.get_rank() == 1:
            raise RuntimeError("the probe's own")


class Watcher(Detector):
    """Finds something in step 6; with ``broken`` it fails on the second rank instead."""

    rule = "loss/watched"
    code = "X001"
    reads = ("loss/train",)
    severity = Severity.WARNING
    title = "Something to find"
    resolve_after = None

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        super().__init__()

    def _reset(self) -> None:
        pass

    def update(self, reading: Reading) -> Finding | None:
        if reading.step < 6:
            return None
        if self.broken and dist.get_rank() == 1:
            raise RuntimeError("the detector's own")
        return self.found(reading, Severity.WARNING, "Step 6 is above the limit 5.", evidence={"value": 6, "limit": 5})


class Own(Monitor):
    """A monitor with parts that fail on one rank."""

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.broken = broken

    def parts(self) -> Parts:
        return Parts([("Own", Fragile())] if self.broken else [], [Watcher(self.broken)])


@case
def parts_fail(folder: Path) -> None:
    fit(folder, diag={"monitors": [*Diagnostics().monitors, Own(broken=True)], "strict": False})


@case
def stop_on(folder: Path) -> None:
    fit(folder, diag={"monitors": [*Diagnostics().monitors, Own()], "stop_on": "warning"}, max_steps=100)


@case
def one_diverges(folder: Path) -> None:
    fit(folder, Net(lr=30.0), devices=1, max_steps=32)


@case
def two_diverge(folder: Path) -> None:
    fit(folder, Net(lr=30.0), max_steps=32)


class Keep(pl.Callback):
    """Saves a checkpoint after the first epoch, 16 steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


@case
def two_resumed(folder: Path) -> None:
    fit(folder / "before", Net(lr=30.0), callbacks=(Keep(folder / "at.ckpt"),), max_steps=32)
    fit(folder, Net(lr=30.0), ckpt_path=str(folder / "at.ckpt"), max_steps=32)


@case
def launched(folder: Path) -> None:
    fit(folder, strategy="ddp")


@case
def spawned(folder: Path) -> None:
    fit(folder, strategy="ddp_spawn")


class Tampered(Net):
    """The second process changes its weights by a millionth after step 20."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.trainer.global_rank == 1 and self.trainer.global_step == 20:
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.add_(1e-6)


class Repeated(Data):
    """Every process loads the same batches."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(data(), batch_size=8)


class Late(Data):
    """The second process waits for its samples."""

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        return DataLoader(LateData(self.trainer.global_rank), batch_size=8)


class LateData(torch.utils.data.Dataset[Any]):
    """Samples that take 3 ms each on the second process."""

    def __init__(self, rank: int) -> None:
        self.data, self.rank = data(640, seed=10 + rank), rank

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Any:
        time.sleep(0.003 * self.rank)
        return self.data[i]


class Slow(Net):
    """A step takes 20 ms, and ``more`` seconds on the second process: busy cores make no difference then."""

    def __init__(self, more: float = 0.0) -> None:
        super().__init__(lr=0.01)
        self.more = more

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        time.sleep(0.02 + self.more * self.trainer.global_rank)
        return super().training_step(batch, batch_idx)


class NotANumber(Net):
    """The second process's loss is not a number in step 12."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        bad = self.trainer.global_rank == 1 and self.trainer.global_step == 11
        return loss * float("nan") if bad else loss


@case
def healthy(folder: Path) -> None:
    fit(folder, Slow(), max_steps=120)


@case
def by_budget(folder: Path) -> None:
    fit(folder, Net(lr=0.01), diag={"every_n_steps": "auto"}, max_steps=450)


@case
def tampered(folder: Path) -> None:
    fit(folder, Tampered(lr=0.01), max_steps=48)


@case
def same_data(folder: Path) -> None:
    fit(folder, Net(lr=0.01), datamodule=Repeated(), max_steps=32)


@case
def late(folder: Path) -> None:
    fit(folder, Net(lr=0.01), datamodule=Late(), max_steps=48)


@case
def heavy(folder: Path) -> None:
    fit(folder, Slow(more=0.02), max_steps=48)


@case
def not_a_number(folder: Path) -> None:
    fit(folder, NotANumber(lr=0.01))


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
