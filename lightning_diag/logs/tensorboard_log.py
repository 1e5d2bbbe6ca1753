"""TensorBoard's event files: framed records of ``Event`` messages, of which only scalars are read.

Framing (tensorflow/core/lib/io/record_writer.h): length (8 bytes), its checksum (4), data, its checksum (4).
``Event``: 1 wall time, 2 step, 5 summary; ``Summary``: 1 value; ``Value``: 1 tag, 2 simple value, 8 tensor;
``TensorProto``: 1 type (1 float, 2 double), 4 content, 5 float values, 6 double values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_diag.errors import RecordError
from lightning_diag.logs import hparams, wire
from lightning_diag.logs.rows import Row, Table, whole

PATTERN = "events.out.tfevents.*"
_MAX_BYTES = 1 << 30  # a longer record is damage
_PACKED = {1: ("<f", 4), 2: ("<d", 8)}  # tensor type -> format and size of a number


def read(paths: Sequence[Path]) -> Table:
    """Read the event files of one run, one after the other; a torn end is left out.

    Args:
        paths: at least one.

    Raises:
        RecordError: a file can't be read or holds no record.
    """
    found: list[tuple[int, dict[str, float]]] = []
    epochs: dict[int, int] = {}
    damaged = 0
    for path in sorted(paths):
        whole_ones = 0
        for data in _records(path):
            try:
                step, values = _event(data)
            except (ValueError, struct.error, UnicodeDecodeError):
                damaged += 1
                continue
            whole_ones += 1
            if "epoch" in values:  # an event of its own, after those it belongs to
                epochs[step] = whole(values.pop("epoch"), -1)
            if values and step >= 0:
                found.append((step, values))
        if not whole_ones:
            raise RecordError(f"{path} holds no event that can be read")
    rows = tuple(Row(step + 1, epochs.get(step, -1), values) for step, values in found)
    folder = paths[0].parent
    return Table("TensorBoard log", rows, folder.name, None, hparams.read(folder), damaged)


def _records(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while len(head := file.read(12)) == 12:
                length = int.from_bytes(head[:8], "little")
                if length > _MAX_BYTES:
                    return
                data = file.read(length)
                if len(data) < length or len(file.read(4)) < 4:
                    return
                yield data
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error}") from error


def _event(data: bytes) -> tuple[int, dict[str, float]]:
    step, values = 0, {}
    for number, content in wire.fields(data):
        if number == 2 and isinstance(content, int):
            step = wire.signed(content)
        elif number == 5 and isinstance(content, bytes):
            for value in wire.children(content, 1):
                tag, scalar = _scalar(value)
                if scalar is not None:
                    values[tag] = scalar
    return step, values


def _scalar(value: bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, content in wire.fields(value):
        if number == 1 and isinstance(content, bytes):
            tag = content.decode()
        elif number == 2 and isinstance(content, int):
            scalar = wire.float32(content)
        elif number == 8 and isinstance(content, bytes):
            scalar = _tensor(content)
    return tag, scalar


def _tensor(message: bytes) -> float | None:
    """Return a tensor of one number; None for anything else."""
    kind, numbers = 0, []
    for number, content in wire.fields(message):
        if number == 1 and isinstance(content, int):
            kind = content
        elif number in (4, 5, 6) and isinstance(content, bytes) and (kind or 1) in _PACKED:
            form, size = _PACKED[{5: 1, 6: 2}.get(number, kind or 1)]
            numbers += [x for (x,) in struct.iter_unpack(form, content[: len(content) // size * size])]
        elif number == 5 and isinstance(content, int):
            numbers.append(wire.float32(content))
        elif number == 6 and isinstance(content, int):
            numbers.append(wire.float64(content))
    return float(numbers[0]) if len(numbers) == 1 else None
