"""Where the record can't be kept, training goes on, one warning tells it, and the rest is kept where it can be."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import resource
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import Logger

from lightning_diag import Diagnostics, MemorySink
from lightning_diag._guard import Guard
from lightning_diag.monitors.outlets import make_dir
from lightning_diag.record import load
from tests.training import Classifier, fit

STEPS = 40


def trained(root: Path, callbacks: list[Any], **trainer: Any) -> torch.Tensor:
    torch.manual_seed(0)
    module = Classifier()
    assert fit(module, callbacks, root, steps=STEPS, **trainer).global_step == STEPS
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return trained(tmp_path_factory.mktemp("bare"), [])


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "lightning_diag" and r.levelno >= logging.WARNING]


def test_a_disk_that_gets_full(bare: torch.Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    diag = Diagnostics(run_dir=tmp_path / "run", every_n_steps=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        weights = trained(tmp_path, [diag])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(weights, bare)
    record, report = told(caplog)  # when the disk is full, and at the end: the report is a file of its own
    assert record.startswith("RecordSink") and "readings.jsonl can't be written" in record
    assert report.startswith("ReportSink") and "report.html can't be written" in report
    steps = [reading.step for reading in load(tmp_path / "run").readings() if "loss/train" in reading.values]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) > 3
    assert load(tmp_path / "run").diagnosis is not None, "run.json had room"
    assert diag.diagnosis.coverage.ran


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_where_nothing_can_be_made(
    number: int, bare: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.mkdir

    def refused(path: Any, *args: Any, **kwargs: Any) -> None:
        if "lightning_diag_runs" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        real(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", refused)
    diag = Diagnostics()
    assert torch.equal(trained(tmp_path, [diag]), bare)
    (warning,) = told(caplog)
    assert "the run record" in warning and os.strerror(number) in warning
    assert diag.run_dir is None and diag.diagnosis.coverage.ran


class WandbLogger(Logger):
    """One whose run Lightning gets and we don't: the service went away in between."""

    down = False

    @property
    def name(self) -> str:
        return "wandb"

    @property
    def version(self) -> str:
        return "1"

    @property
    def experiment(self) -> Any:
        if self.down:
            raise ConnectionError("planted")
        return None

    def log_metrics(self, *_: Any, **__: Any) -> None:
        """Taken and forgotten."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Taken and forgotten."""


def test_wandb_that_goes_away(bare: torch.Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger, diag = WandbLogger(), Diagnostics()

    class Cable(pl.Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            logger.down = True

    assert torch.equal(trained(tmp_path, [Cable(), diag], logger=logger), bare)
    (warning,) = told(caplog)
    assert "WandbLogger" in warning and "planted" in warning
    assert diag.run_dir is not None and load(diag.run_dir).info["status"] == "finished"


def _claim(barrier: Any, queue: Any, root: str, wanted: str | None) -> None:
    class Trainer:
        default_root_dir = root

    barrier.wait(timeout=30)
    queue.put(str(make_dir(Trainer(), wanted, None, Guard(strict=True))))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wanted", [None, "mine"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_runs_that_start_at_the_same_moment_have_folders_of_their_own(wanted: str | None, tmp_path: Path) -> None:
    context, count = multiprocessing.get_context("fork"), 12
    barrier, queue = context.Barrier(count), context.Queue()
    path = None if wanted is None else str(tmp_path / wanted)
    runs = [context.Process(target=_claim, args=(barrier, queue, str(tmp_path), path)) for _ in range(count)]
    for run in runs:
        run.start()
    claimed = [queue.get(timeout=30) for _ in runs]
    for run in runs:
        run.join(timeout=30)
    assert len(set(claimed)) == count
    if wanted is not None:
        assert {Path(path).name for path in claimed} == {wanted, *(f"{wanted}-{n}" for n in range(2, count + 1))}


def test_other_sinks_go_on_when_the_record_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.ftruncate", lambda *_: None)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if data.startswith(b'{"s":'):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    from lightning_diag.sinks.record import RecordSink

    monkeypatch.setattr(os, "write", full)
    memory = MemorySink()
    trained(tmp_path, [Diagnostics(run_dir=tmp_path / "run", sinks=[RecordSink(), memory])])
    assert {reading.step for reading in memory.readings} >= set(range(1, STEPS + 1))
