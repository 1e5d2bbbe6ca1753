"""A log as readings: which file it is, what its columns stand for, and which rows belong together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from lightning_diag.errors import RecordError
from lightning_diag.logs import csv_log, tensorboard_log, wandb_log
from lightning_diag.logs.names import STAGE, match
from lightning_diag.logs.rows import Row, Table
from lightning_diag.reading import Facts, Reading
from lightning_diag.signals import SIGNALS

PERCENT = 100.0  # an accuracy that goes above 1 and not above this is one in percent


@dataclass(frozen=True)
class Log:
    """A log of a run that we did not watch.

    Attributes:
        path: the file or folder it was read from.
        table: what was written.
        columns: signal -> the columns it is read from.
    """

    path: Path
    table: Table
    columns: Mapping[str, tuple[str, ...]]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows that count: of steps that were logged again after a resume the later ones."""
        loss = self.columns.get("loss/train", ())
        kept: list[Row] = []
        limit: float = np.inf  # first step that was logged again
        for row in reversed(self.table.rows):
            holds_loss = any(column in row.values for column in loss)
            if row.step > limit or (holds_loss and row.step == limit):
                continue
            if holds_loss:
                limit = row.step
            kept.append(row)
        return tuple(reversed(kept))

    @cached_property
    def interval_steps(self) -> int:
        """Steps from one training loss to the next, median; 1 where every step was logged, or none twice."""
        loss = self.columns.get("loss/train", ())
        steps = [row.step for row in self.rows if any(column in row.values for column in loss)]
        gaps = [b - a for a, b in pairwise(steps) if b > a]
        return max(1, round(median(gaps))) if gaps else 1

    @cached_property
    def facts(self) -> Facts:
        """What is known of the run: next to nothing, and why signals are missing."""
        held = {*self.columns, "run/ended"}
        reason = f"the {self.table.kind} holds no column that is known to be it"
        made = {name for name in SIGNALS if name.startswith("loss/") and SIGNALS[name].merge == "host"}
        absent = SIGNALS.keys() - held - (made if "loss/train" in held else set())
        groups = {"group": self.columns["lr"]} if "lr" in self.columns else {}
        length = max((row.step for row in self.rows), default=0)
        plan = length if length and self.table.ended is not False else None  # a log is judged as long as it is
        return Facts(planned_steps=plan, names=groups, unmeasured=dict.fromkeys(sorted(absent), reason))

    @property
    def caveats(self) -> list[str]:
        """What makes a verdict on it weaker than a run's own, in words."""
        told = ", ".join(f"{signal} = {' and '.join(names)}" for signal, names in self.columns.items())
        found = [f"read from a {self.table.kind}: {told or 'no column is known to it'}; the rest was not measured"]
        if self.interval_steps > 1:
            found.append(
                f"about every {self.interval_steps}th training loss was logged: what lies between was not seen"
            )
        if self.table.ended is False:
            found.append("the run has no end in this log: it goes on, or it was killed")
        if len(self.rows) < len(self.table.rows):
            found.append(
                f"{len(self.table.rows) - len(self.rows)} rows were logged again after a resume; the later ones count"
            )
        if self.table.damaged:
            found.append(f"{self.table.damaged} lines of the log could not be read")
        return found

    def readings(self) -> Iterator[Reading]:
        """Yield the readings in the order of the log, and the end of the run unless the log knows that it goes on."""
        epoch = step = 0
        for stage, row in _joined(self._parts()):
            epoch, step = max(row.epoch, epoch), max(row.step, step)
            values = self._values(row)
            if values:
                yield Reading(row.step, epoch, values, self.facts, stage=stage)
        if step and self.table.ended is not False:
            yield Reading(step, epoch, {"run/ended": np.float64(1.0)}, self.facts, stage="end")

    def _parts(self) -> Iterator[tuple[str, Row]]:
        """Yield (stage, what a row holds of it)."""
        stages: dict[str, set[str]] = {"train": set(), "validation": set()}
        for signal, names in self.columns.items():
            stages[STAGE.get(signal, "train")].update(names)
        for row in self.rows:
            for stage, wanted in stages.items():
                part = {name: row.values[name] for name in row.values.keys() & wanted}
                if part:
                    yield stage, Row(row.step, row.epoch, part)

    def _values(self, row: Row) -> dict[str, object]:
        values: dict[str, object] = {}
        for signal, names in self.columns.items():
            there = [row.values[name] * self._scale.get(signal, 1.0) for name in names if name in row.values]
            if there:
                values[signal] = np.asarray(there) if signal == "lr" else np.float64(there[0])
        return values

    @cached_property
    def _scale(self) -> dict[str, float]:
        """Factor of an accuracy that was logged in percent."""
        scale = {}
        for signal in self.columns.keys() & {"accuracy/train", "accuracy/val"}:
            (name,) = self.columns[signal]
            top = max((row.values[name] for row in self.rows if np.isfinite(row.values.get(name, np.nan))), default=0.0)
            if 1.0 < top <= PERCENT:
                scale[signal] = 1 / PERCENT
        return scale


def open_log(path: str | os.PathLike[str], names: Mapping[str, str] | None = None) -> Log:
    """Open the log of a run: a file, or the folder that holds it.

    Args:
        path: ``metrics.csv``, ``run-*.wandb``, ``events.out.tfevents.*``, or the folder of one run's.
        names: signal -> column, where the usual names don't fit.

    Raises:
        RecordError: there is none, or it can't be read.
        ConfigurationError: ``names`` names what isn't there.
    """
    path = Path(path)
    table = _read(path)
    columns = dict.fromkeys(name for row in table.rows for name in row.values)
    return Log(path, table, match(columns, names))


def _read(path: Path) -> Table:
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".wandb":
        return wandb_log.read(path)
    if path.match(tensorboard_log.PATTERN):
        return tensorboard_log.read([path])
    if path.suffix == ".csv":
        return csv_log.read(path)
    if not path.exists():
        raise RecordError(f"{path} does not exist")
    raise RecordError(f"{path} is no log that can be read: metrics.csv, run-*.wandb or events.out.tfevents.*")


def _read_folder(path: Path) -> Table:
    if (path / csv_log.FILE).is_file():
        return csv_log.read(path / csv_log.FILE)
    wandb = sorted(path.glob(wandb_log.PATTERN))
    if len(wandb) == 1:
        return wandb_log.read(wandb[0])
    events = sorted(path.glob(tensorboard_log.PATTERN))
    if events:
        return tensorboard_log.read(events)
    raise RecordError(
        f"{path} is not a run record: it holds no run.json, nor the log of one run (metrics.csv, run-*.wandb, "
        "events.out.tfevents.*)"
    )


def _joined(parts: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    """Yield parts of one stage and step that follow each other as one, unless they hold a column twice."""
    held: tuple[str, Row] | None = None
    for stage, row in parts:
        if (
            held is not None
            and held[0] == stage
            and held[1].step == row.step
            and not held[1].values.keys() & row.values
        ):
            held = stage, Row(row.step, max(row.epoch, held[1].epoch), {**held[1].values, **row.values})
            continue
        if held is not None:
            yield held
        held = stage, row
    if held is not None:
        yield held
