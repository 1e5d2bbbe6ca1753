"""The flight recorder: the steps around the first bad event, in full, in the run record."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError, RecordError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.record.flight import FLIGHT, event_line, flights
from lightning_diag.record.lines import encode_whole
from lightning_diag.sinks._append import AppendFile
from lightning_diag.sinks.base import RunInfo, Sink


class FlightSink(Sink):
    """Keeps the readings of the last steps, and writes them and those of the next steps once something bad happens.

    The first finding of warning or worse begins a recording, and the first critical one another, where it comes after
    the end of the first. ``flight.jsonl`` then holds every reading of these steps with all its values (also those that
    a replay could make again), batch index and sample ids where the batches hold ids; no tensors. A run without a
    warning has no such file. A run that goes on from a checkpoint made during a recording goes on with it. Read it with
    :func:`lightning_diag.record.flights`.

    Args:
        before: training steps kept in memory; higher = more of the time before. Default 50.
        after: training steps written after the event. Default 20.

    Cost:
        0.1 us a step; a few ms once.

    Raises:
        RecordError: from :meth:`finding` and :meth:`block`, when the file can't be written.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lightning_diag.record import flights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = FlightSink(before=2, after=1)
        ...     sink.open(RunInfo(Path(folder), "example"))
        ...     for step in range(1, 10):
        ...         sink.reading(Reading(step, 0, {"loss/train": 1.0}))
        ...         if step == 6:
        ...             sink.finding(Finding("loss/spike", Severity.WARNING, 6, 0, (), "a spike"))
        ...     [(f.event.rule, [r.step for r in f.readings]) for f in flights(folder)]
        [('loss/spike', [5, 6, 7])]
    """

    def __init__(self, before: int = 50, after: int = 20) -> None:
        if before < 1 or after < 0:
            raise ConfigurationError(f"before must be at least 1 and after at least 0, got {before!r} and {after!r}")
        self.before, self.after = before, after
        self._reset()

    def _reset(self) -> None:
        self._run = RunInfo(None, "")
        self._recent: deque[Reading] = deque(maxlen=self.before)
        self._worst: Severity = Severity.INFO  # of the events recorded
        self._until = -1  # last step of the recording under way
        self._file: AppendFile | None = None

    def __reduce__(self) -> tuple[type[FlightSink], tuple[int, int]]:
        return type(self), (self.before, self.after)

    def open(self, run: RunInfo) -> None:
        """Begin to keep readings."""
        self._release()
        self._reset()
        self._run = run
        if run.resumed_step is not None and run.run_dir is not None:
            self._go_on(run.run_dir, run.resumed_step)

    def _go_on(self, folder: Path, step: int) -> None:
        """Take up what had been recorded, or was under way, at the step of the checkpoint."""
        before = flights(folder)
        begun = [flight for flight in before if max(flight.until - self.after, flight.event.step) <= step]
        self._worst = max((flight.event.severity for flight in begun), default=self._worst)
        if begun and begun[-1] is before[-1] and begun[-1].until > step:
            self._until = begun[-1].until
            self._file = AppendFile(folder / FLIGHT)

    def reading(self, reading: Reading) -> None:
        """Keep one, or write it."""
        self.block((reading,))

    def block(self, readings: Sequence[Reading]) -> None:
        """Keep them, or write them while a recording goes on."""
        if self._file is None:
            self._recent.extend(readings)
            return
        due = [reading for reading in readings if reading.step <= self._until]
        if due:
            self._file.write(b"".join(map(self._line, due)))
        if len(due) < len(readings):
            self._release()
        self._recent.extend(readings)

    def finding(self, finding: Finding) -> None:
        """Begin a recording at the first bad event, and at the first critical one."""
        folder = self._run.run_dir
        if folder is None or finding.severity <= self._worst or finding.status == "resolved" or self._file is not None:
            return
        self._worst = finding.severity
        last = self._recent[-1].step if self._recent else finding.step
        self._until = last + self.after
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{folder} can't be made: {error}") from error
        self._file = AppendFile(folder / FLIGHT)
        self._file.write(event_line(finding, self._until) + b"".join(map(self._line, self._recent)))

    def close(self, diagnosis: Diagnosis) -> None:
        """Close the file."""
        self._release()
        self._recent.clear()

    def _line(self, reading: Reading) -> bytes:
        return encode_whole(reading, list(self._run.samples(reading.step)))

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
