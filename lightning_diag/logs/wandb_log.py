"""W&B's transaction log of an offline run, ``run-<id>.wandb``, read without the package.

LevelDB's log framing: after a head of 7 bytes blocks of 32 KiB, records of a 7-byte head (checksum, length, type) and
data; type 1 is a whole record, 2, 3 and 4 are its first, middle and last part. A record is a ``Record`` message: 2
history, 5 config, 17 run, 18 exit; history and config hold items of 1 key, 2 nested key, 16 value as JSON (newer
files: 5 integer, 6 number).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_diag.errors import RecordError
from lightning_diag.logs import wire
from lightning_diag.logs.rows import Row, Table, number, whole

PATTERN = "run-*.wandb"
AXES = ("trainer/global_step", "global_step", "train/global_step", "_step")
_BLOCK, _HEAD = 32768, 7
_HISTORY, _CONFIG, _RUN, _EXIT = 2, 5, 17, 18


def read(path: Path) -> Table:
    """Read a log as far as it is whole.

    Steps are Lightning's ``trainer/global_step`` where it is logged, else W&B's own count of rows.

    Raises:
        RecordError: it can't be read or is no such log.
    """
    try:
        buffer = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    if len(buffer) < _HEAD or struct.unpack("<4sHB", buffer[:_HEAD]) != (b":W&B", 0xBEE1, 0):
        raise RecordError(f"{path} is no log of W&B's: it has another head")
    rows: list[dict[str, float]] = []
    config: dict[str, Any] = {}
    name, ended, damaged = path.parent.name, False, 0
    for record in _records(buffer):
        try:
            for kind, content in wire.fields(record):
                if kind == _HISTORY and isinstance(content, bytes):
                    rows.append(_history(content))
                elif kind == _CONFIG and isinstance(content, bytes):
                    config.update(_items(content))
                elif kind == _RUN and isinstance(content, bytes):
                    config.update({k: v for part in wire.children(content, 4) for k, v in _items(part).items()})
                    name = next((text.decode() for text in wire.children(content, 8)), name) or name
                elif kind == _EXIT:
                    ended = True
        except (ValueError, UnicodeDecodeError):
            damaged += 1
    config.pop("_wandb", None)
    return Table("W&B log", tuple(_rows(rows)), name, ended, config, damaged)


def _rows(rows: list[dict[str, float]]) -> Iterator[Row]:
    axis = next((name for name in AXES if any(name in row for row in rows)), None)
    epoch = -1
    for i, row in enumerate(rows):
        epoch = whole(row.get("epoch"), epoch)
        step = whole(row.get(axis, row.get("diag/step")) if axis else float(i), -1)
        own = axis not in row and "diag/step" in row  # rows of ours count from 1
        values = {k: v for k, v in row.items() if not k.startswith("_") and k not in (*AXES, "epoch", "diag/step")}
        if step >= 0 and values:
            yield Row(step + (0 if own else 1), epoch, values)


def _history(message: bytes) -> dict[str, float]:
    row = {key: x for key, value in _items(message).items() if (x := number(value)) is not None}
    for step in wire.children(message, 2):
        row.setdefault(
            "_step", next((float(wire.signed(n)) for i, n in wire.fields(step) if i == 1 and isinstance(n, int)), 0.0)
        )
    return row


def _items(message: bytes) -> dict[str, Any]:
    """Return key -> value of a message's items; nested keys are joined with ``/``."""
    found: dict[str, Any] = {}
    for item in wire.children(message, 1):
        key, nested, value = "", [], None
        for i, content in wire.fields(item):
            if i == 1 and isinstance(content, bytes):
                key = content.decode()
            elif i == 2 and isinstance(content, bytes):
                nested.append(content.decode())
            elif i == 16 and isinstance(content, bytes):
                value = _json(content)
            elif i == 5 and isinstance(content, int):
                value = (content >> 1) ^ -(content & 1)
            elif i == 6 and isinstance(content, int):
                value = wire.float64(content)
        found["/".join(nested) or key] = value
    return found


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _records(buffer: bytes) -> Iterator[bytes]:
    position, part = _HEAD, b""
    while position + _HEAD <= len(buffer):
        left = _BLOCK - position % _BLOCK
        if left < _HEAD:
            position += left
            continue
        crc, length, kind = struct.unpack("<IHB", buffer[position : position + _HEAD])
        data = buffer[position + _HEAD : position + _HEAD + length]
        if len(data) < length or zlib.crc32(data, zlib.crc32(bytes([kind]))) != crc:
            return  # a torn tail
        position += _HEAD + length
        part = data if kind in (1, 2) else part + data
        if kind in (1, 4):
            yield part
