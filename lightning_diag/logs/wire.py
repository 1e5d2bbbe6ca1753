"""Protocol buffers' wire format, as far as logs need it: a message into its fields, without any schema.

https://protobuf.dev/programming-guides/encoding: a field is a varint ``number << 3 | type``, then a varint (type 0), 8
bytes (1), a length and that many bytes (2), or 4 bytes (5). Two logs are read with it that would otherwise need two
large packages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Field = int | bytes  # types 0, 1 and 5 as unsigned integers, type 2 as bytes
_MAX_VARINT = 10


def fields(message: bytes) -> Iterator[tuple[int, Field]]:
    r"""Yield (number, content) of every field of a message, in order.

    Raises:
        ValueError: the message is torn or is none.

    >>> list(fields(b"\x08\x96\x01\x12\x02hi"))
    [(1, 150), (2, b'hi')]
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        kind = tag & 7
        content: Field
        if kind == 0:
            content, position = _varint(message, position)
        else:
            if kind == 2:
                length, position = _varint(message, position)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise ValueError(f"wire type {kind}")
            data = message[position : position + length]
            if len(data) < length:
                raise ValueError("a torn message")
            content = data if kind == 2 else int.from_bytes(data, "little")
            position += length
        yield tag >> 3, content


def children(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the contents of all fields of this number that hold bytes: texts and messages."""
    for found, content in fields(message):
        if found == number and isinstance(content, bytes):
            yield content


def signed(content: int) -> int:
    """Return a varint as the signed 64-bit number it stands for.

    >>> signed(2**64 - 1), signed(7)
    (-1, 7)
    """
    return content - 2**64 if content >= 2**63 else content


def float32(content: int) -> float:
    """Return 4 bytes as a float.

    Raises:
        ValueError: it is wider, a field of another wire type.

    >>> float32(0x3F800000)
    1.0
    """
    return float(struct.unpack("<f", _bytes(content, 4))[0])


def float64(content: int) -> float:
    """Return 8 bytes as a float.

    Raises:
        ValueError: it is wider, a field of another wire type.

    >>> float64(0x3FF0000000000000)
    1.0
    """
    return float(struct.unpack("<d", _bytes(content, 8))[0])


def _bytes(content: int, length: int) -> bytes:
    if content >> 8 * length:
        raise ValueError(f"a number of more than {length} bytes")
    return content.to_bytes(length, "little")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(message[position : position + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & (2**64 - 1), position + i + 1
    raise ValueError("a torn message")
