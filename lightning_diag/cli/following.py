"""A record that is being written, read again and again: only what is new."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_diag.errors import RecordError
from lightning_diag.record.lines import decode
from lightning_diag.record.reader import READINGS, RUN

MAX_POINTS = 4096  # of a curve: more than any terminal is wide
CURVES = ("loss/train", "loss/val", "lr", "grad/norm")
NUMBERS = ("system/interval_steps", "system/overhead_frac")


@dataclass
class Curve:
    """Steps and values in bounded memory; of neighbours that are joined the higher one stays.

    >>> curve = Curve()
    >>> for step, value in enumerate([5.0, 4.0, 3.0, 9.0]):
    ...     curve.push(step, value)
    >>> curve.push(3, 2.0)  # measured again after a resume
    >>> curve.values, curve.last
    ([5.0, 4.0, 3.0, 2.0], 2.0)
    """

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    last: float = float("nan")
    _stride: int = 1  # values that make one point: the same along the whole curve
    _held: int = 0  # values in the last point, 0 = it is full

    def push(self, step: int, value: float) -> None:
        """Take in one value; steps that come again replace what was there."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
            self._held = 0
        self.last = value
        if self._held:
            self.steps[-1], self.values[-1] = step, _higher(self.values[-1], value)
        else:
            self.steps.append(step)
            self.values.append(value)
        self._held = (self._held + 1) % self._stride
        if len(self.steps) == MAX_POINTS and not self._held:
            self.values = [_higher(a, b) for a, b in zip(self.values[::2], self.values[1::2], strict=True)]
            self.steps = self.steps[1::2]
            self._stride *= 2


def _higher(a: float, b: float) -> float:
    """The higher one; NaN if one is."""
    return a if a >= b or a != a else b


class Following:
    """The curves of a growing record.

    Args:
        run_dir: the record's directory.

    Attributes:
        curves: signal -> curve, of :data:`CURVES`.
        numbers: signal -> last value, of :data:`NUMBERS`.
        step: last step that was read.
        epoch: its epoch.
        planned_steps: what the trainer is going to take, if known.
        changed_s: when the record last grew, in seconds of the clock of files.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / READINGS
        self._reset()

    def _reset(self) -> None:
        self.curves = {name: Curve() for name in CURVES}
        self.numbers: dict[str, float] = {}
        self.step, self.epoch = 0, 0
        self.planned_steps: int | None = None
        self.changed_s = 0.0
        self._file = -1  # inode: a record that was made smaller is another file
        self._offset = 0

    def read(self) -> None:
        """Take in the lines that were added; start again when the file was replaced.

        Raises:
            RecordError: the file can't be read.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._file or status.st_size < self._offset:
                    self._reset()
                    self._file = status.st_ino
                self.changed_s = status.st_mtime
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):  # not yet whole
                        break
                    self._offset += len(line)
                    self._take(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise RecordError(f"{self.path} can't be read: {error}") from error

    def _take(self, line: bytes) -> None:
        try:
            data = decode(line)
            if "facts" in data:
                planned = data["facts"].get("planned_steps")
                self.planned_steps = planned if isinstance(planned, int) and planned > 0 else None
            elif "v" in data:
                self._take_reading(int(data["s"]), int(data["e"]), data["v"])
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # damage is counted by whoever judges the record

    def _take_reading(self, step: int, epoch: int, values: dict[str, Any]) -> None:
        self.step, self.epoch = step, epoch
        for name, curve in self.curves.items():
            if name in values:
                value = values[name]
                curve.push(step, float(max(value) if isinstance(value, list) else value))
        for name in NUMBERS:
            if name in values:
                self.numbers[name] = float(values[name])


def find_run(path: Path) -> Path:
    """Return the run directory that is meant: itself, or the newest one in it or in its ``lightning_diag_runs``.

    Raises:
        RecordError: there is none.
    """
    if (path / RUN).is_file():
        return path
    found = [*path.glob(f"*/{RUN}"), *path.glob(f"lightning_diag_runs/*/{RUN}")]
    if not found:
        raise RecordError(f"{path} is not a run record: it holds no {RUN}, nor does a folder in it")
    return max(found, key=lambda file: (file.stat().st_mtime, str(file))).parent
