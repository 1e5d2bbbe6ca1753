"""Logs of other tools as bytes, written by hand, so that the tests need none of these tools."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

BLOCK = 32768


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: int | float | bytes | str) -> bytes:
    """A field: an integer as a varint, a float as 8 bytes, anything else with its length."""
    if isinstance(content, float):
        return varint(number << 3 | 1) + struct.pack("<d", content)
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def event(step: int, values: Mapping[str, float], *, tensor: bool = False) -> bytes:
    """A TensorBoard event: scalars as simple values, or as TensorFlow 2 writes them, as tensors of one number."""
    summary = b""
    for tag, value in values.items():
        number = struct.pack("<f", value)
        content = field(8, field(1, 1) + field(4, number)) if tensor else varint(2 << 3 | 5) + number
        summary += field(1, field(1, tag) + content)
    return field(1, 1.7e9) + field(2, step) + field(5, summary)


def write_events(path: Path, events: Iterable[bytes]) -> None:
    """Frame events; the checksums are left empty, as nobody looks at them."""
    path.write_bytes(b"".join(struct.pack("<QI", len(data), 0) + data + bytes(4) for data in events))


def write_wandb(
    path: Path, rows: Iterable[Mapping[str, object]], config: Mapping[str, object] | None = None, *, ended: bool = True
) -> None:
    """W&B's transaction log of an offline run."""

    def items(number: int, data: Mapping[str, object]) -> bytes:
        return b"".join(field(number, field(2, key) + field(16, json.dumps(value))) for key, value in data.items())

    records = [field(17, field(1, "abc") + field(8, "calm-sea-1") + field(4, items(1, config or {})))]
    records += [field(2, items(1, row) + field(2, field(1, i))) for i, row in enumerate(rows)]
    if ended:
        records.append(field(18, field(1, 0)))
    path.write_bytes(framed(records))


def framed(records: Iterable[bytes]) -> bytes:
    """Records in LevelDB's framing."""
    out = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    for record in records:
        first = True
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += bytes(left)
                continue
            data, record = record[: left - 7], record[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not record]
            out += struct.pack("<IHB", zlib.crc32(data, zlib.crc32(bytes([kind]))), len(data), kind) + data
            first = False
            if not record:
                break
    return bytes(out)
