"""The sink that writes the run record (:mod:`lightning_diag.record`)."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lightning_diag.diagnosis import Coverage, Diagnosis
from lightning_diag.errors import ConfigurationError, RecordError
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from lightning_diag.record.lines import encode, encode_object
from lightning_diag.record.reader import FINDINGS, READINGS, RUN, SCHEMA, load, read_info
from lightning_diag.sinks._append import AppendFile, replace_file
from lightning_diag.sinks._thinning import thin_file
from lightning_diag.sinks.base import RunInfo, Sink

MIN_BYTES = 4096
MAX_FINDING_STEPS = 1000  # steps of findings remembered for the margins of thinning


class RecordSink(Sink):
    """Writes readings, findings and the diagnosis into the run directory, so that a killed run loses nothing.

    A directory that holds a record already (a run that goes on) is appended to, never overwritten; one that another run
    writes to, or whose ``run.json`` is damaged or newer, is refused. Without a run directory the sink does nothing. A
    pickled or copied sink is closed: it never writes into the record of the original.

    Args:
        max_bytes: limit of ``readings.jsonl``, in bytes, at least 4096; beyond it every second reading of the oldest
            half is left out, away from findings first. Higher keeps more detail of long runs.

    Attributes:
        status: what ``close`` writes as the run's status: ``finished``, or ``failed`` when the caller sets it before.

    Cost:
        One ``write`` a block of readings; about 2 us for a reading of scalars and about 1 ms for three signals of 1,000
        parameters (2-core x86).

    Raises:
        RecordError: from every method, when the disk is full or the directory gone.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lightning_diag.record import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = RecordSink()
        ...     sink.open(RunInfo(Path(folder), "example"))
        ...     sink.reading(Reading(1, 0, {"loss/train": 2.5}))
        ...     sink.close(Diagnosis())
        ...     [reading.step for reading in load(folder).readings()], load(folder).info["status"]
        ([1], 'finished')
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        if max_bytes < MIN_BYTES:
            raise ConfigurationError(f"max_bytes must be at least {MIN_BYTES}, got {max_bytes!r}")
        self.max_bytes = max_bytes
        self._reset()

    def _reset(self) -> None:
        self.status = "finished"
        self._run_dir: Path | None = None
        self._readings: AppendFile | None = None
        self._findings: AppendFile | None = None
        self._info: dict[str, Any] = {}
        self._facts: Facts | None = None
        self._written: dict[str, Finding] = {}  # rule -> last state in the file
        self._steps: dict[int, None] = {}  # of findings; a dict keeps the order
        self._limit = self.max_bytes
        self._inert = False
        self._resumed_step: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.max_bytes,)

    def open(self, run: RunInfo) -> None:
        """Make or continue the record in ``run.run_dir``."""
        self._release()
        self._reset()
        if run.run_dir is None:
            self._inert = True
            return
        self._run_dir = run.run_dir
        try:
            run.run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{run.run_dir} can't be made: {error}") from error
        self._resumed_step = run.resumed_step
        try:
            self._findings = AppendFile(run.run_dir / FINDINGS, lock=True)
            self._readings = AppendFile(run.run_dir / READINGS)
            self._info = self._head(run, run.run_dir)
            if run.resumed_step is not None and self._findings.size:
                self._findings.write(encode_object({"resumed": run.resumed_step}))
            self._write_info()
        except RecordError:
            self._release()
            raise

    def reading(self, reading: Reading) -> None:
        """Append one reading; host signals are left out."""
        self.block((reading,))

    def block(self, readings: Sequence[Reading]) -> None:
        """Append readings, those of the same facts with one ``write``."""
        if self._inert:
            return
        file = self._opened(self._readings)
        lines: list[bytes] = []
        last = self._info["last_step"]
        for reading in readings:
            if reading.facts is not self._facts and reading.facts != self._facts:
                if lines:
                    file.write(b"".join(lines))
                    lines = []
                self._info["last_step"] = last
                self._write_facts(file, reading)
            lines.append(encode(reading))
            last = max(last, int(reading.step))
        file.write(b"".join(lines))
        self._info["last_step"] = last
        if file.size > self._limit:
            self._thin(file)

    def finding(self, finding: Finding) -> None:
        """Append one finding event."""
        if self._inert:
            return
        self._remember(finding)
        self._opened(self._findings).write(encode_object(finding.to_dict()))

    def coverage(self, coverage: Coverage) -> None:
        """Write which checks have run so far: a run that is killed comes to no other."""
        if not self._inert:
            self._info["coverage"] = coverage.to_dict()
            self._write_info()

    def close(self, diagnosis: Diagnosis) -> None:
        """Write the diagnosis and the status; may be called again and after an error (the disk may have room again)."""
        if self._run_dir is None or self._readings is None:
            self._inert = False
            return
        self._info.update(status=self.status, coverage=None, diagnosis=diagnosis.to_dict())
        try:
            for finding in diagnosis.findings:  # what changed since it was news: last step, count
                if self._written.get(finding.rule) != finding:
                    self.finding(finding)
            self._write_info()
        finally:
            self._release()

    def _head(self, run: RunInfo, run_dir: Path) -> dict[str, Any]:
        """Return the first ``run.json`` of this session."""
        head: dict[str, Any] = {
            "schema": SCHEMA,
            "name": run.name,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "sessions": [],
            "last_step": 0,
            "facts": {},
        }
        if (run_dir / RUN).exists():
            old = read_info(run_dir)
            head.update({key: old[key] for key in ("created", "sessions", "last_step", "facts")})
            for event in load(run_dir).events:
                self._remember(event)
        meta = dict(run.meta)
        given = meta.pop("versions", {})
        versions = {**_versions(), **(given if isinstance(given, Mapping) else {})}
        return {**head, "status": "running", "versions": versions, "meta": meta, "coverage": None, "diagnosis": None}

    def _write_facts(self, file: AppendFile, reading: Reading) -> None:
        if self._facts is None:
            first = reading.step if self._resumed_step is None else self._resumed_step + 1
            self._info["sessions"] = [*self._info["sessions"], int(first)]
        self._facts = reading.facts
        self._info["facts"] = reading.facts.to_dict()
        session = len(self._info["sessions"]) - 1
        file.write(encode_object({"facts": self._info["facts"], "session": session}))
        self._write_info()

    def _write_info(self) -> None:
        if self._run_dir is not None:
            replace_file(self._run_dir / RUN, encode_object(self._info))

    def _thin(self, file: AppendFile) -> None:
        self._readings = thin_file(file.path, self.max_bytes, self._steps)
        self._limit = max(self.max_bytes, 5 * self._readings.size // 4)
        file.close()

    def _remember(self, finding: Finding) -> None:
        self._written[finding.rule] = finding
        for step in (finding.first_step, finding.step, finding.last_step):
            self._steps[step] = None
        while len(self._steps) > MAX_FINDING_STEPS:
            self._steps.pop(next(iter(self._steps)))

    def _opened(self, file: AppendFile | None) -> AppendFile:
        if file is None:
            raise RecordError("the run record is not open")
        return file

    def _release(self) -> None:
        for file in (self._readings, self._findings):
            if file is not None:
                file.close()
        self._readings = self._findings = None


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    with contextlib.suppress(metadata.PackageNotFoundError):  # run from a source tree
        versions["lightning-diag"] = metadata.version("lightning-diag")
    return versions
