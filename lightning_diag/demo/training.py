"""One training of the demo: a plain Trainer with a logger and ``Diagnostics()``, nothing else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_diag.demo.data import Digits, batches
from lightning_diag.demo.quiet import quiet
from lightning_diag.errors import RecordError

if TYPE_CHECKING:
    from lightning_diag.diagnosis import Diagnosis


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Args:
        name: name of the run and of its folder.
        train: training digits.
        val: validation digits.
        lr: learning rate of Adam.
        epochs: passes over ``train``.
        seed: seed of the weights and of the order of samples.
    """

    name: str
    train: Digits
    val: Digits
    lr: float = 2e-3
    epochs: int = 16
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        plan: what was trained.
        diagnosis: what ``Diagnostics`` says about it.
        accuracy: on ``plan.val`` after the last epoch, 0 to 1.
        steps: optimizer steps taken.
        run_dir: record of the run, with ``report.html``.
        logger: ``W&B`` or ``CSV``.
        log_dir: what the logger wrote.
        wall_s: seconds the training took.
    """

    plan: Plan
    diagnosis: Diagnosis
    accuracy: float
    steps: int
    run_dir: Path
    logger: str
    log_dir: Path
    wall_s: float


def train(plan: Plan, folder: Path) -> Result:
    """Train as planned on the CPU; the record goes to ``folder/<name>``, the logger's files beside it.

    What ``Diagnostics`` says on its way goes to standard output, so that the demo's text stays in one piece.

    Raises:
        RecordError: the record could not be written.
    """
    import torch  # noqa: PLC0415 - slow to import
    from lightning.pytorch import Trainer  # noqa: PLC0415

    from lightning_diag import Diagnostics  # noqa: PLC0415
    from lightning_diag.demo.module import DigitClassifier  # noqa: PLC0415

    start = time.perf_counter()
    with quiet(), redirect_stderr(sys.stdout), _alone(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        module = DigitClassifier(lr=plan.lr)
        diag = Diagnostics(run_dir=folder / plan.name)
        logger = _logger(folder, plan.name)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=plan.epochs,
            callbacks=[diag],
            logger=logger,
            default_root_dir=folder,
            log_every_n_steps=10,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, batches(plan.train, shuffle=True, seed=plan.seed), batches(plan.val, 256))
        kind, log_dir = _close(logger)
    if diag.run_dir is None:
        raise RecordError(f"the record of the run could not be written to {folder / plan.name}")
    return Result(
        plan,
        diag.diagnosis,
        float(trainer.callback_metrics["val/accuracy"]),
        trainer.global_step,
        diag.run_dir,
        kind,
        log_dir,
        time.perf_counter() - start,
    )


@contextmanager
def _alone() -> Iterator[None]:
    """Use one thread: for so small a net a second one costs more than it brings, and results vary with their number."""
    import torch  # noqa: PLC0415 - slow to import

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _logger(folder: Path, name: str) -> Any:
    """W&B without a network where it is installed, else a CSV file."""
    from lightning.pytorch.loggers import CSVLogger, WandbLogger  # noqa: PLC0415 - slow to import

    if find_spec("wandb") is None:
        return CSVLogger(folder, name="csv", version=name)
    import wandb  # noqa: PLC0415 - slow to import

    wandb.setup()  # reads WANDB_SILENT before the first word is said
    return WandbLogger(name=name, save_dir=folder, project="lightning-diag-demo", offline=True)


def _close(logger: Any) -> tuple[str, Path]:
    """Finish the logger; return its kind and the folder it wrote."""
    if type(logger).__name__ == "CSVLogger":
        return "CSV", Path(logger.log_dir)
    run = logger.experiment
    folder = Path(run.dir).parent  # run.dir is its "files" folder
    run.finish()
    return "W&B", folder
