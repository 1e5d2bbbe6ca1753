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

import numpy as np
from numpy.typing import NDArray

from lightning_diag.demo.data import REAL, Digits, batches
from lightning_diag.demo.quiet import quiet
from lightning_diag.errors import RecordError

if TYPE_CHECKING:
    from lightning_diag.demo.module import DigitClassifier
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
        predicted: ``(N,)`` classes of ``plan.val`` after the last epoch.
        steps: optimizer steps taken.
        run_dir: record of the run, with ``report.html``.
        logger: ``W&B`` or ``CSV``.
        log_dir: what the logger wrote.
        wall_s: seconds the training took.
    """

    plan: Plan
    diagnosis: Diagnosis
    predicted: NDArray[np.int64]
    steps: int
    run_dir: Path
    logger: str
    log_dir: Path
    wall_s: float

    def accuracy(self, domain: int = REAL) -> float:
        """Share of a domain's validation digits that are right; NaN without any."""
        of = self.plan.val.domain == domain
        return float((self.predicted == self.plan.val.labels)[of].mean()) if of.any() else float("nan")

    def worst(self, n: int, domain: int = REAL) -> list[tuple[int, float]]:
        """The ``n`` digits with most errors in a domain, as ``(digit, share of errors)``."""
        val = self.plan.val
        wrong = (self.predicted != val.labels)[val.domain == domain]
        labels = val.labels[val.domain == domain]
        shares = [(int(k), float(wrong[labels == k].mean())) for k in np.unique(labels)]
        return sorted(shares, key=lambda share: -share[1])[:n]


def train(plan: Plan, folder: Path) -> Result:
    """Train as planned on the CPU; the record goes to ``folder/<name>``, the logger's files beside it.

    What ``Diagnostics`` says on its way goes to standard output, so that the demo's text stays in one piece.

    Raises:
        RecordError: the record could not be written.
    """
    from lightning_diag import Diagnostics  # noqa: PLC0415 - slow to import

    start = time.perf_counter()
    with quiet(), redirect_stderr(sys.stdout):
        diag = Diagnostics(run_dir=folder / plan.name)
        logger = _logger(folder, plan.name)
        module, steps = _fit(plan, folder, [diag], logger)
        kind, log_dir = _close(logger)
    if diag.run_dir is None:
        raise RecordError(f"the record of the run could not be written to {folder / plan.name}")
    return Result(
        plan,
        diag.diagnosis,
        predict(module, plan.val),
        steps,
        diag.run_dir,
        kind,
        log_dir,
        time.perf_counter() - start,
    )


def accuracy_alone(plan: Plan) -> float:
    """Train as planned, without a log, a record or ``Diagnostics``; return the share right of ``plan.val``."""
    with quiet():
        module, _ = _fit(plan, Path(), [], False)
    return float((predict(module, plan.val) == plan.val.labels).mean())


def predict(module: DigitClassifier, digits: Digits) -> NDArray[np.int64]:
    """Return the classes a trained module sees in the digits, ``(N,)``."""
    import torch  # noqa: PLC0415 - slow to import

    with torch.no_grad():
        predicted: NDArray[np.int64] = module(torch.from_numpy(digits.images)).argmax(1).numpy()
    return predicted


def _fit(plan: Plan, folder: Path, callbacks: list[Any], logger: Any) -> tuple[DigitClassifier, int]:
    """Train on the CPU; return what was trained and the optimizer steps taken."""
    import torch  # noqa: PLC0415 - slow to import
    from lightning.pytorch import Trainer  # noqa: PLC0415

    from lightning_diag.demo.module import DigitClassifier  # noqa: PLC0415

    with _alone(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        module = DigitClassifier(lr=plan.lr)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=plan.epochs,
            callbacks=callbacks,
            logger=logger,
            default_root_dir=folder,
            log_every_n_steps=10,
            limit_val_batches=1.0 if callbacks else 0,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, batches(plan.train, shuffle=True, seed=plan.seed), batches(plan.val, 256))
    return module, int(trainer.global_step)


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
