"""One run: build what the plan says, train it through Lightning, store the record and the final scores."""

from __future__ import annotations

import json
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.zoo.build import build
from benchmarks.zoo.digest import package_digest
from benchmarks.zoo.gan import Gan, covered
from benchmarks.zoo.grid import Config
from benchmarks.zoo.modules import Supervised, metric, optimizer
from benchmarks.zoo.operators import apply
from benchmarks.zoo.plan import Data, Plan
from benchmarks.zoo.tasks import TASKS
from lightning_diag._pipeline.schedule import DENSE_STEPS, Schedule
from lightning_diag.monitors import session

RESULT = "result.json"


class DenseStart(Schedule):
    """A given interval after the first 32 steps, each of which is sampled: ``auto`` on quick steps, without its clock.

    A clock would make runs differ. ``auto`` samples every step of the first second, and where a sample costs less than
    2 % of a step every step of the first half second of its own time.
    """

    def _chosen(self, step: int) -> int:
        return 1 if self._samples < DENSE_STEPS else super()._chosen(step)


def planned(config: Config) -> Plan:
    """The plan of a run, before data and network are built."""
    return apply(config.operator, TASKS[config.task][0](), config.severity)


def prepare(config: Config) -> tuple[Plan, Data, pl.LightningModule]:
    """Plan, data and module of a run; the same seed gives twins the same split, initialization and order."""
    plan = planned(config)
    data = TASKS[config.task][1](torch.Generator().manual_seed(1000 + config.seed))
    for change in plan.on_data:
        change(data, torch.Generator().manual_seed(2000 + config.seed))
    torch.manual_seed(config.seed)
    if plan.kind == "gan":
        return plan, data, Gan(plan)
    net = build(**plan.arch)
    torch.manual_seed(config.seed + 1)
    for edit in plan.on_net:
        edit(net)
    return plan, data, Supervised(plan, net)


def _pretrain(plan: Plan, module: Supervised, data: Data) -> None:
    """Plain training before the run that is watched, then a tenth of the rate."""
    net, opt = module.net, optimizer(plan, module.net.parameters())
    g = torch.Generator().manual_seed(7)
    for _ in range(plan.pretrain):
        chosen = torch.randint(0, len(data.train_x), (plan.batch_size,), generator=g)
        opt.zero_grad()
        module.loss(net(data.train_x[chosen]), data.train_y[chosen]).backward()
        opt.step()
    plan.lr *= 0.1


def _loaders(plan: Plan, data: Data, seed: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    sets = TensorDataset(data.train_x, data.train_y), TensorDataset(data.val_x, data.val_y)
    for split, domain in zip(sets, plan.domains, strict=False):
        split.domain = domain  # type: ignore[attr-defined]
    train = DataLoader(
        sets[0],
        batch_size=min(plan.batch_size, len(data.train_x)),
        shuffle=plan.shuffle,
        generator=torch.Generator().manual_seed(3000 + seed),
    )
    return train, DataLoader(sets[1], batch_size=256)


def _trainer(plan: Plan, steps: int, batches: int, callbacks: list[Any], folder: Path) -> pl.Trainer:
    """A trainer that validates about 12 times, as epochs of these small sets are short or long."""
    every = max(1, plan.steps * plan.accumulate // 12)
    epochs = max(1, round(every / batches))
    return pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        devices=1,
        precision=plan.precision,
        gradient_clip_val=plan.clip,
        accumulate_grad_batches=plan.accumulate,
        val_check_interval=every if every < batches else 1.0,
        check_val_every_n_epoch=1 if every < batches else epochs,
        limit_val_batches=0 if plan.kind == "gan" else None,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def run(
    config: Config, folder: Path, watch: bool = True, callbacks: Callable[[], list[Any]] | None = None
) -> dict[str, Any]:
    """Train one configuration; leave ``result.json`` (and the record) in ``folder``; return the result.

    Args:
        config: which run.
        folder: where to.
        watch: with Diagnostics and its record.
        callbacks: makes other callbacks (another tool's) for each trainer of the run: one, or two around a resume.
    """
    _quiet()
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    plan, data, module = prepare(config)
    if plan.pretrain and isinstance(module, Supervised):
        _pretrain(plan, module, data)
    train, val = _loaders(plan, data, config.seed)
    start, error, extra = time.perf_counter(), None, callbacks or list
    watchers: list[Any] = []
    torch.manual_seed(config.seed + 2)
    try:
        with mock.patch.object(session, "Schedule", DenseStart):
            _fit(plan, module, train, val, folder, lambda: [*_watching(config, folder, watch, watchers), *extra()])
    except Exception as raised:  # a run that dies is a result too
        error = f"{type(raised).__name__}: {raised}"
    seconds = time.perf_counter() - start
    result = {
        **asdict(config), "fingerprint": planned(config).fingerprint(), "kind": plan.kind, "steps": plan.steps,
        "onset_step": plan.onset_step, "where": list(plan.where), "every_n_steps": config.every_n_steps,
        "watched": watch, "record": watchers[-1].run_dir.name if watchers else None,
        "package": package_digest(), "error": error, "seconds": round(seconds, 3), **_scores(plan, module, data),
    }  # fmt: skip
    (folder / RESULT).write_text(json.dumps(result))
    return result


def _watching(config: Config, folder: Path, watch: bool, made: list[Any]) -> list[Any]:
    if not watch:
        return []
    made.append(_diagnostics(config, folder))
    return made[-1:]


def _fit(
    plan: Plan, module: pl.LightningModule, train: Any, val: Any, folder: Path, callbacks: Callable[[], list[Any]]
) -> None:
    if plan.resume_at is None:
        _trainer(plan, plan.steps, len(train), callbacks(), folder).fit(module, train, val)
        return
    first = _trainer(plan, round(plan.resume_at * plan.steps), len(train), callbacks(), folder)
    first.fit(module, train, val)
    first.save_checkpoint(folder / "half.ckpt")
    second = _trainer(plan, plan.steps, len(train), callbacks(), folder)
    second.fit(module, train, val, ckpt_path=folder / "half.ckpt")
    (folder / "half.ckpt").unlink()


def _diagnostics(config: Config, folder: Path) -> Any:
    from lightning_diag import Diagnostics  # not needed by plain runs
    from lightning_diag.sinks.record import RecordSink

    return Diagnostics(every_n_steps=config.every_n_steps, run_dir=folder / "record", sinks=[RecordSink()])


def _scores(plan: Plan, module: pl.LightningModule, data: Data) -> dict[str, float]:
    """Final scores on clean validation, test and both; higher is better; a lost run counts as 0 or minus infinity."""
    if isinstance(module, Gan):
        return dict.fromkeys(("metric", "metric_val", "metric_test"), covered(plan, module.generator.eval(), data))
    net = module.get_submodule("net")

    def score(*parts: tuple[Tensor, Tensor]) -> float:
        value = metric(plan, net, torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts]))
        return value if math.isfinite(value) else -1e9

    val, test = (data.val_x, data.val_y), (data.test_x, data.test_y)
    return {"metric": score(val, test), "metric_val": score(val), "metric_test": score(test)}


def _quiet() -> None:
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
