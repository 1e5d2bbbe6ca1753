"""Trainings that are killed at random moments: ``python -m tests.killed FOLDER TRIES SEED``.

Forks each from one process that has trained before, so that a try costs no imports. Prints one JSON line a try: the
folder of its record, the seconds from the start of the fit to the kill, and the steps done a second before it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

import torch

from lightning_diag import Diagnostics
from tests.training import Classifier, fit

AT_ONCE = 5
LONGEST_S = 3.0
NAN_AT = 15  # where every step is sampled, the loss of this one is not finite: a finding has to survive, too


class Noting(Classifier):
    """Writes down when each step is done, in a way that the record has no part in."""

    def __init__(self, path: Path, nan_at: int) -> None:
        super().__init__(hidden=16)
        self.nan_at = nan_at
        self.notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        os.write(self.notes, f"{self.global_step} {time.monotonic()}\n".encode())
        loss = super().training_step(batch, batch_idx)
        return loss * float("nan") if self.global_step == self.nan_at - 1 else loss


def train(folder: Path, steps: int, every: int = 1) -> None:
    folder.mkdir()
    options: dict[str, Any] = {
        "max_epochs": -1,
        "limit_val_batches": 1,
        "check_val_every_n_epoch": 3 if every == 1 else 10**6,
    }
    diag = Diagnostics(run_dir=folder / "run", every_n_steps=every)
    fit(Noting(folder / "notes", NAN_AT if every == 1 else 0), [diag], folder, steps=steps, **options)


def start(folder: Path, every: int) -> int:
    """Train in a process of its own until it is killed; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(30)  # whatever happens to us
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            train(folder, -1, every)
        finally:
            os._exit(1)
    return child


def done_before(path: Path, moment: float) -> int:
    """How many steps were done by then."""
    lines = path.read_text().splitlines() if path.exists() else []
    notes = [line.split() for line in lines if len(line.split()) == 2]
    return max((int(step) for step, at in notes if float(at) <= moment), default=0)


def main(root: Path, tries: int, seed: int) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    train(root / "warm", steps=80)
    random = Random(seed)
    for first in range(0, tries, AT_ONCE):
        folders = [root / f"try-{k}" for k in range(first, min(first + AT_ONCE, tries))]
        every = 1 if first % 2 else 500  # losses of steps that are not sampled wait for each other
        children = [(random.uniform(0, LONGEST_S), folder, start(folder, every)) for folder in folders]
        while not all((folder / "notes").exists() for folder in folders):
            time.sleep(0.01)
        begun = time.monotonic()
        for after_s, folder, child in sorted(children):
            time.sleep(max(0.0, begun + after_s - time.monotonic()))
            os.kill(child, signal.SIGKILL)
            killed = time.monotonic()
            _, status = os.waitpid(child, 0)
            steps = done_before(folder / "notes", killed - 1)
            finding = every == 1 and steps >= NAN_AT
            told = {"run": str(folder / "run"), "after_s": after_s, "steps": steps, "finding": finding}
            told["signal"] = os.WTERMSIG(status)
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
