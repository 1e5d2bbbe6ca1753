"""Where a run's readings and findings go by default: a folder of its own, the trainer's loggers, the console."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_diag import _plugins, report
from lightning_diag._guard import Guard
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.finding import Finding
from lightning_diag.monitors import trainer_view as view
from lightning_diag.monitors.live_report import LiveReport
from lightning_diag.reading import Reading
from lightning_diag.record import can_resume, new_run_dir
from lightning_diag.record.reader import FINDINGS, RUN
from lightning_diag.sinks.base import RunInfo, Sink
from lightning_diag.sinks.console import ConsoleSink
from lightning_diag.sinks.flight import FlightSink
from lightning_diag.sinks.logger import LoggerSink
from lightning_diag.sinks.record import RecordSink
from lightning_diag.sinks.suspects import SuspectSink
from lightning_diag.sinks.wandb import WandbSink


def make_dir(trainer: Any, wanted: str | Path | None, saved: Mapping[str, Any] | None, guard: Guard) -> Path | None:
    """Return the run's folder: the one that a checkpoint names, the user's, or a new one; None where there is none."""
    try:
        old = None if saved is None else saved.get("run_dir")
        if saved is not None and old and can_resume(Path(old), int(saved["step"])):
            return Path(old)
        if wanted is not None:
            return _free(Path(wanted))
        return new_run_dir(view.root_dir(trainer))
    except Exception as error:
        guard.tell("the run record", error)
        return None


def sinks_of(trainer: Any, run_dir: Path | None, guard: Guard) -> list[Sink]:
    """Return the record and its report (where there is a folder), the sinks of loggers and of packages, the console."""
    if run_dir is None:
        sinks: list[Sink] = []
    else:
        sinks = [RecordSink(), FlightSink(), SuspectSink(), LiveReport(), ReportSink()]
    found_wandb = False
    for logger in view.loggers(trainer):
        try:
            if view.is_wandb(logger):
                found_wandb = True
                sinks.append(WandbSink(logger.experiment))
            else:
                sinks.append(LoggerSink(logger))
        except Exception as error:
            guard.tell(type(logger).__name__, error)
    run = view.active_wandb_run()
    if run is not None and not found_wandb:
        sinks.append(WandbSink(run))
    for cls in _plugins.sinks():
        try:
            sinks.append(cls())
        except Exception as error:
            guard.tell(cls.__name__, error)
    sinks.append(ConsoleSink())
    return sinks


class ReportSink(Sink):
    """Draws the report once the record is closed, before the console names it."""

    def open(self, run: RunInfo) -> None:
        """Keep the folder."""
        self._run_dir = run.run_dir

    def reading(self, reading: Reading) -> None:
        """Nothing to do: the report is drawn from the record."""

    def finding(self, finding: Finding) -> None:
        """Nothing to do: the report is drawn from the record."""

    def close(self, diagnosis: Diagnosis) -> None:
        """Draw it."""
        if self._run_dir is not None:
            report.write(self._run_dir)


def _free(path: Path) -> Path:
    """Return the folder, or the next free ``name-2``, ``name-3`` when it holds another run's record.

    The file made here is there only once: of two processes that come at the same moment one gets the folder.
    """
    candidate, n = path, 1
    while True:
        candidate.mkdir(parents=True, exist_ok=True)
        if not (candidate / RUN).exists():
            try:
                (candidate / FINDINGS).touch(exist_ok=False)
                return candidate
            except FileExistsError:
                pass
        n += 1
        candidate = path.with_name(f"{path.name}-{n}")
