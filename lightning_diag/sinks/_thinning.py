"""Keeping a record bounded: every second reading of the oldest half goes, what surrounds a finding stays."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lightning_diag.errors import RecordError
from lightning_diag.record.lines import encode_object, step_of
from lightning_diag.sinks._append import AppendFile

MARGIN_STEPS = 100  # around a finding: LossHealth looks back 64 steps, detectors about as far
ROOM = 0.8  # share of the limit a thinned file may fill, so that thinning is rare
_PASSES = 24  # each nearly halves the file: more means that a single line is larger than the limit
_PROGRESS = 0.9  # a pass that leaves more than this share found little that isn't spared

Protected = Callable[[int], bool]


def thin_file(path: Path, max_bytes: int, findings_at: Iterable[int]) -> AppendFile:
    """Rewrite ``readings.jsonl`` smaller, atomically, and return it open for appending.

    Facts always stay. First every second training reading with arrays and every second one without go from the oldest
    half of the file, except within ``MARGIN_STEPS`` of a finding; then, while the file fills more than ``ROOM``, from
    the whole; then, if what is kept that way alone fills it, from margins and validation too.

    Args:
        path: the file.
        max_bytes: its limit, in bytes.
        findings_at: steps of findings.

    Raises:
        RecordError: the disk; the file stays as it was.
    """
    protected = _margins(findings_at)
    note = encode_object({"thinned": {"max_bytes": max_bytes}})
    temporary = path.with_name(path.name + ".tmp")
    try:
        size, spare = path.stat().st_size, True
        for turn in range(_PASSES):
            half = size // 2 if turn == 0 else None
            _rewrite(path, temporary, note, _keep(half, protected if spare else None))
            temporary.replace(path)
            before, size = size, path.stat().st_size
            if size <= ROOM * max_bytes:
                break
            spare = spare and (turn == 0 or size < _PROGRESS * before)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RecordError(f"{path} can't be thinned: {error}") from error
    return AppendFile(path)


def _rewrite(source: Path, target: Path, note: bytes, keep: Callable[[int, bytes], bool]) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        new.write(note)
        position = 0
        for line in old:
            if keep(position, line):
                new.write(line)
            position += len(line)


def _keep(half: int | None, protected: Protected | None) -> Callable[[int, bytes], bool]:
    """Return the rule for one pass: (byte position, line) -> whether the line stays."""
    seen = [0, 0]  # readings without, with arrays

    def keep(position: int, line: bytes) -> bool:
        step = step_of(line)
        if step is None:
            return not line.startswith(b'{"thinned"')
        if half is not None and position >= half:
            return True
        head = line[:100]
        if b'"g":"end"' in head or (protected and (b'"g":"train"' not in head or protected(step))):
            return True
        kind = int(b"[" in line)
        seen[kind] += 1
        return seen[kind] % 2 == 1

    return keep


def _margins(steps: Iterable[int]) -> Protected:
    """Return whether a step lies within the margin of one of ``steps``."""
    edges = list(_merged(sorted(steps)))

    def protected(step: int) -> bool:
        return bisect_right(edges, step) % 2 == 1

    return protected


def _merged(steps: list[int]) -> Iterator[int]:
    """Yield start, end, start, end ... of the joined half-open intervals around sorted steps."""
    end = None
    for step in steps:
        start = step - MARGIN_STEPS
        if end is None or start > end:
            if end is not None:
                yield end
            yield start
        end = step + MARGIN_STEPS + 1
    if end is not None:
        yield end
