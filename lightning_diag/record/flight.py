"""The flight recorder's file: every step around the first bad event, in full."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_diag.errors import RecordError
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from lightning_diag.record.conform import conform
from lightning_diag.record.lines import decode, encode_object, encode_whole, to_reading
from lightning_diag.record.reader import DAMAGE

FLIGHT = "flight.jsonl"


@dataclass(frozen=True)
class Flight:
    """The steps around one event.

    Attributes:
        event: the finding that began it.
        readings: those of the steps before it, its own and the steps after, host signals included, in the order they
            were judged. ``facts`` are not written and stand at their defaults.
        samples: step -> ids of the samples of its batches, where the batches hold ids.
    """

    event: Finding
    readings: tuple[Reading, ...]
    samples: Mapping[int, tuple[str, ...]]


def event_line(finding: Finding) -> bytes:
    """Return the line that begins a recording."""
    return encode_object({"event": finding.to_dict()})


def step_line(reading: Reading, samples: Iterable[str]) -> bytes:
    """Return the line of one reading: every value, and the ids of the samples."""
    return encode_whole(reading, list(samples))


def flights(run_dir: str | os.PathLike[str]) -> tuple[Flight, ...]:
    """Return the recordings of a run, in the order they began; empty where nothing bad happened.

    A torn or damaged line is left out.

    Raises:
        RecordError: the file is there and can't be read.
    """
    path, found = Path(run_dir) / FLIGHT, list[tuple[Finding, list[Reading], dict[int, tuple[str, ...]]]]()
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    for line in lines:
        try:
            data = decode(line)
            if "event" in data:
                found.append((Finding.from_dict(conform(data["event"], Finding)), [], {}))
            elif found:
                reading = to_reading(data, Facts())
                found[-1][1].append(reading)
                ids = data.get("ids")
                if isinstance(ids, list):
                    found[-1][2][reading.step] = tuple(map(str, ids))
        except DAMAGE:
            continue
    return tuple(Flight(event, tuple(readings), samples) for event, readings, samples in found)
