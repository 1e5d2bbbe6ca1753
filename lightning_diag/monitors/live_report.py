"""The report while the run goes on: drawn now and then from the record, by a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lightning_diag.errors import RecordError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.sinks.base import RunInfo, Sink

# What the process runs: lowest priority before the imports, an end whatever happens, and what it cost on stdout
DRAW = """\
import sys
sys.path[:] = sys.argv[2:]
import os, signal, time
os.nice(19)
signal.alarm(600)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
from lightning_diag.report import write
write(sys.argv[1])
print(time.process_time())
"""
# the process is one thread
ONE_THREAD = dict.fromkeys(("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
LETTERS = 300  # of what a process that failed said


class LiveReport(Sink):
    """Has the report drawn again when there is news: a finding of warning or worse, or the end of a validation pass.

    In a process, not a thread: drawing is work in Python, and a thread would take the interpreter from the training
    loop for milliseconds at a time. Starting the process takes a few milliseconds; nobody waits for it. One that fails
    is told once and no other is started; the report at the end of the run is drawn nevertheless.

    Args:
        first_s: seconds of the run before the first; higher leaves short runs alone.
        every_s: shortest time between two, in seconds; higher draws more seldom.
        share: share of the run's time that drawing may take of one core; lower draws a large record more seldom.
        clock: seconds that only grow (for tests).

    Raises:
        RecordError: the process can't be started, or it failed.
    """

    def __init__(
        self,
        first_s: float = 30.0,
        every_s: float = 180.0,
        share: float = 0.01,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.first_s = first_s
        self.every_s = every_s
        self.share = share
        self.clock = clock
        self._reset()

    def _reset(self) -> None:
        self._run_dir: Path | None = None
        self._child: subprocess.Popen[str] | None = None
        self._news = False
        self._started = 0.0
        self._next = self.clock() + self.first_s

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.first_s, self.every_s, self.share, self.clock)

    def open(self, run: RunInfo) -> None:
        """Keep the folder."""
        self._stop()
        self._reset()
        self._run_dir = None if run.run_dir is None else run.run_dir.absolute()  # the user may change directory

    def reading(self, reading: Reading) -> None:
        """The end of a validation pass is news."""
        self.block((reading,))

    def block(self, readings: Sequence[Reading]) -> None:
        """The same for several readings."""
        if any(reading.stage == "validation" for reading in readings):
            self._news = True
        self._tend()

    def finding(self, finding: Finding) -> None:
        """A finding of warning or worse is news."""
        if finding.severity >= Severity.WARNING:
            self._news = True
        self._tend()

    def close(self, diagnosis: object) -> None:
        """End a process that still draws: the report of the whole run comes next."""
        self._stop()
        self._run_dir = None

    def _tend(self) -> None:
        now = self.clock()
        if self._child is not None:
            if self._child.poll() is None:
                return
            self._next = max(self._started + self.every_s, now + self._cost_s(self._child) / self.share)
        if self._news and now >= self._next and self._run_dir is not None:
            self._news, self._started = False, now
            self._child = _start(self._run_dir)

    def _cost_s(self, child: subprocess.Popen[str]) -> float:
        """Seconds of one core that a process took which is over."""
        self._child = None
        said, complaint = child.communicate()
        try:
            if not child.returncode:
                return float(_last_line(said))  # what else stands there, the user's own start-up files printed
        except ValueError:
            complaint = f"it said {said!r}"
        raise RecordError(f"drawing the report failed: {_last_line(complaint) or f'exit status {child.returncode}'}")

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(subprocess.TimeoutExpired):
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=2.0)
            child.kill()
            child.communicate(timeout=2.0)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2][:LETTERS]


def _start(run_dir: Path) -> subprocess.Popen[str]:
    """Start a process that draws; what this one can import, it can."""
    try:
        return subprocess.Popen(
            [sys.executable, "-c", DRAW, str(run_dir), *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # the user's Ctrl-C is for the training
        )
    except OSError as error:
        raise RecordError(f"drawing the report can't be started: {error}") from error
