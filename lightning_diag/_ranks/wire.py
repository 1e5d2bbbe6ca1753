"""What goes between processes: packets as bytes (a JSON head and numbers as float32), and where they are left."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from lightning_diag._ranks.merge import Landed

_LENGTH = struct.Struct("<I")


class Store(Protocol):
    """What is needed of ``torch.distributed.Store``."""

    def set(self, key: str, value: Any, /) -> None:
        """Leave a value."""

    def get(self, key: str, /) -> Any:
        """Return a value; waits for it."""

    def check(self, keys: list[str], /) -> bool:
        """Whether all keys are there; doesn't wait."""

    def delete_key(self, key: str, /) -> bool:
        """Drop a value."""


@dataclass(frozen=True)
class Flight:
    """Some packets of one process, or merged ones for all.

    Attributes:
        parts: the packets.
        end: whether nothing comes after.
        read: merged flights the sender has read.
        taken: of a merged flight: flights taken from each rank.
        stop: of a merged flight: step after which all are to stop.
        plan: of a merged flight: from which step on every how many steps are sampled.
    """

    parts: tuple[Landed, ...] = ()
    end: bool = False
    read: int = 0
    taken: tuple[int, ...] = ()
    stop: int | None = None
    plan: tuple[int, int] | None = None


def encode(flight: Flight) -> bytes:
    """Return a flight as bytes.

    >>> part = Landed(3, 0, 2, "train", {"loss/train": np.float64(2.5)}, {"names": {"class": ("a", "b")}})
    >>> decode(encode(Flight((part,), stop=9))) == Flight((part,), stop=9)
    True
    """
    head: dict[str, Any] = {"end": flight.end, "read": flight.read, "taken": flight.taken}
    head |= {"stop": flight.stop, "plan": flight.plan}
    head["parts"] = [
        [p.step, p.epoch, p.batch_idx, p.stage, [[n, np.shape(v)] for n, v in p.values.items()], p.learned, p.sharded]
        for p in flight.parts
    ]
    text = json.dumps(head, separators=(",", ":")).encode()
    flats = [np.asarray(v, dtype="<f4").reshape(-1) for p in flight.parts for v in p.values.values()]
    body = np.concatenate(flats).tobytes() if flats else b""
    return _LENGTH.pack(len(text)) + text + body


def decode(data: bytes) -> Flight:
    """Return the flight again; lists in what was learned come back as tuples."""
    (length,) = _LENGTH.unpack_from(data)
    head = json.loads(data[_LENGTH.size : _LENGTH.size + length])
    numbers = np.frombuffer(data, dtype="<f4", offset=_LENGTH.size + length).astype(np.float64)
    parts, start = [], 0
    for step, epoch, batch_idx, stage, layout, learned, sharded in head["parts"]:
        values = {}
        for name, shape in layout:
            end = start + prod(shape)
            values[name] = numbers[start:end].reshape(shape)
            start = end
        parts.append(Landed(step, epoch, batch_idx, stage, values, _tuples(learned), sharded))
    plan = None if head["plan"] is None else (head["plan"][0], head["plan"][1])
    return Flight(tuple(parts), head["end"], head["read"], tuple(head["taken"]), head["stop"], plan)


def _tuples(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(_tuples(value) for value in data) if isinstance(data, list) else data
