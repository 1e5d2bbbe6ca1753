"""The flight recorder's file: every step around the first bad event, in full."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_diag.errors import RecordError
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from lightning_diag.record.conform import conform
from lightning_diag.record.lines import decode, encode_object, to_reading
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
        until: last step that was to be written; -1 where the file doesn't say.
    """

    event: Finding
    readings: tuple[Reading, ...]
    samples: Mapping[int, tuple[str, ...]]
    until: int = -1


def event_line(finding: Finding, until: int) -> bytes:
    """Return the line that begins a recording which is to last until a step."""
    return encode_object({"event": finding.to_dict(), "until": until})


def flights(run_dir: str | os.PathLike[str]) -> tuple[Flight, ...]:
    """Return the recordings of a run, in the order they began; empty where nothing bad happened.

    A torn or damaged line is left out. Of a step that was trained again, after a resume, the later line counts, and so
    for all steps after it.

    Raises:
        RecordError: the file is there and can't be read.
    """
    path, found = Path(run_dir) / FLIGHT, list[Flight]()
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
                until = data.get("until")
                event = Finding.from_dict(conform(data["event"], Finding))
                found.append(Flight(event, (), {}, until if isinstance(until, int) else -1))
            elif found:
                found[-1] = _with(found[-1], to_reading(data, Facts()), data.get("ids"))
        except DAMAGE:
            continue
    return tuple(found)


def _with(flight: Flight, reading: Reading, ids: Any) -> Flight:
    """A recording with one more reading."""
    key = reading.step, reading.stage
    again = next((i for i, r in enumerate(flight.readings) if (r.step, r.stage) == key), None)
    samples = {**flight.samples, reading.step: tuple(map(str, ids))} if isinstance(ids, list) else flight.samples
    return replace(flight, readings=(*flight.readings[:again], reading), samples=samples)
