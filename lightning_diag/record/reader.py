"""Reading a run record back: without torch, without a GPU, also while the run goes on or after it was killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from lightning_diag.errors import RecordError
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from lightning_diag.record.conform import conform
from lightning_diag.record.lines import decode, to_facts, to_reading

SCHEMA = 1
RUN, READINGS, FINDINGS = "run.json", "readings.jsonl", "findings.jsonl"
STATUSES = ("running", "finished", "failed")
DAMAGE = (ValueError, TypeError, KeyError, OverflowError)  # what reading a damaged line may raise
_PEEK_BYTES = 4096  # the note that readings were left out is the first line and short

T = TypeVar("T")


class RunFile(TypedDict):
    """Entries of ``run.json``."""

    schema: int
    name: str
    created: str
    status: str
    versions: dict[str, Any]
    meta: dict[str, Any]
    sessions: tuple[int, ...]
    last_step: int
    facts: dict[str, Any]
    coverage: dict[str, Any] | None
    diagnosis: dict[str, Any] | None


@dataclass
class Record:
    """A run record on disk; readings are streamed, everything else is in memory.

    Attributes:
        run_dir: the directory.
        info: ``run.json``; every entry of :class:`RunFile` is there.
        facts: what was known of the run in the end.
        events: every finding event, in the order they were told, without those a resumed run makes again.
        thinned: whether readings were left out to keep the size bounded; a replay may then find less.
        damaged: lines that could not be read so far; a last line torn by a kill is not counted.
    """

    run_dir: Path
    info: dict[str, Any]
    facts: Facts
    events: tuple[Finding, ...] = ()
    thinned: bool = False
    damaged: int = 0
    _damaged_events: int = 0

    @property
    def diagnosis(self) -> dict[str, Any] | None:
        """The diagnosis as it was written at the end; None when the run never came to its end."""
        found: dict[str, Any] | None = self.info["diagnosis"]
        return found

    @property
    def coverage(self) -> dict[str, Any] | None:
        """Which checks ran, and why the others did not: of the whole run, or so far; None before its first reading."""
        found: dict[str, Any] | None = (self.diagnosis or self.info).get("coverage")
        return found

    @property
    def findings(self) -> list[Finding]:
        """Present state of each rule's finding: most severe first, open before resolved, then by first step."""
        latest = {finding.rule: finding for finding in self.events}
        return sorted(latest.values(), key=lambda f: (-f.severity, f.status == "resolved", f.first_step, f.rule))

    def readings(self) -> Iterator[Reading]:
        """Stream the readings in the order they were measured, with the facts known at the time.

        Of steps that were measured again after a resume only the later readings come. Lines that can't be read are left
        out and counted in ``damaged``.

        Raises:
            RecordError: the file can't be read, or nothing in it can.
        """
        self.damaged = self._damaged_events
        replay = _Replay(self.info["sessions"])
        yield from _objects(self.run_dir / READINGS, replay, self._count_damage)

    def _count_damage(self) -> None:
        self.damaged += 1


def load(run_dir: str | os.PathLike[str]) -> Record:
    """Open a run record.

    Args:
        run_dir: the run directory (it holds ``run.json``).

    Raises:
        RecordError: it is missing, damaged, or written by a newer version.
    """
    path = Path(run_dir)
    info = read_info(path)
    try:
        facts = to_facts(info["facts"])
    except DAMAGE as error:
        raise RecordError(f"{path / RUN} is damaged: facts: {error}") from error
    record = Record(path, info, facts, thinned=_is_thinned(path / READINGS))
    events = _Events()
    for _ in _objects(path / FINDINGS, events, record._count_damage):
        pass
    record.events = tuple(events.kept)
    record._damaged_events = record.damaged
    return record


def read_info(run_dir: Path) -> dict[str, Any]:
    """Return ``run.json`` with every entry of :class:`RunFile`; raise :class:`RecordError` where it is no record."""
    path = run_dir / RUN
    try:
        info = conform(decode(path.read_bytes()), RunFile)
    except FileNotFoundError:
        raise RecordError(f"{run_dir} is not a run record: it holds no {RUN}") from None
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    except DAMAGE as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    schema = info.get("schema")
    if schema is None or schema < 1:
        raise RecordError(f"{path} is not a run record's: it names no schema")
    if schema > SCHEMA:
        raise RecordError(f"{path} has schema {schema}, this version reads up to {SCHEMA}: update lightning-diag")
    if info.setdefault("status", "running") not in STATUSES:
        raise RecordError(f"{path} is damaged: status must be one of {STATUSES}")
    empty: dict[str, Any] = {"name": path.parent.name, "created": "", "last_step": 0}
    empty |= {"sessions": [], "versions": {}, "meta": {}, "facts": {}, "coverage": None, "diagnosis": None}
    return {**empty, **info}


class _Events:
    """Gathers finding events; a resume takes back those of steps that are measured again."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []

    def __call__(self, data: dict[str, Any]) -> None:
        if "rule" in data:
            self.kept.append(Finding.from_dict(conform(data, Finding)))
        elif "resumed" in data:
            step = int(data["resumed"])
            self.kept = [finding for finding in self.kept if max(finding.step, finding.last_step) <= step]


class _Replay:
    """Turns decoded lines into readings: remembers the facts, leaves out what was measured again later."""

    def __init__(self, sessions: list[int]) -> None:
        self.sessions = sessions
        self.facts = Facts()
        self._enter(0)

    def _enter(self, session: int) -> None:
        self.until = min(self.sessions[session + 1 :], default=None)

    def __call__(self, data: dict[str, Any]) -> Reading | None:
        if "facts" in data:
            self.facts = to_facts(data["facts"])
            self._enter(int(data.get("session", 0)))
            return None
        if "v" not in data:
            return None  # a note
        reading = to_reading(data, self.facts)
        return reading if self.until is None or reading.step < self.until else None


def _objects(path: Path, convert: Callable[[dict[str, Any]], T | None], damaged: Callable[[], None]) -> Iterator[T]:
    """Yield the converted lines of a file; none when there is no such file."""
    good = bad = 0
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    item = convert(decode(line))
                except DAMAGE:
                    if line.endswith(b"\n"):  # else torn by a kill in the middle of a write
                        bad += 1
                        damaged()
                    continue
                good += 1
                if item is not None:
                    yield item
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    if bad and not good:
        raise RecordError(f"{path} is damaged: none of its {bad} lines can be read")


def _is_thinned(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_PEEK_BYTES).startswith(b'{"thinned"')
    except OSError:
        return False
