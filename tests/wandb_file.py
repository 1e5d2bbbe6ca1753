"""Reads the transaction log that an offline W&B run leaves behind (``run-<id>.wandb``), for tests.

LevelDB's log framing: blocks of 32 KiB, records of a 7-byte head (CRC of type and data, length, type) and data; type 1
is a whole record, 2, 3 and 4 are its first, middle and last part. Each record is a ``wandb_internal_pb2.Record``.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

_BLOCK = 32768


@dataclass
class RunLog:
    """What a run told W&B.

    Attributes:
        history: rows in order; nested keys joined with ``/``.
        summary: last value of each summary key.
        alerts: (title, text, level).
        metrics: key or glob -> (step metric, hidden).
        exit_code: None while the run isn't over.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    alerts: list[tuple[str, str, str]] = field(default_factory=list)
    metrics: dict[str, tuple[str, bool]] = field(default_factory=dict)
    exit_code: int | None = None


def read(path: Path) -> RunLog:
    """Read a log as far as it is whole."""
    log = RunLog()
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            log.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            log.summary.update({_key(item): json.loads(item.value_json) for item in record.summary.update})
        elif kind == "alert":
            log.alerts.append((record.alert.title, record.alert.text, record.alert.level))
        elif kind == "metric":
            metric = record.metric
            log.metrics[metric.name or metric.glob_name] = (metric.step_metric, metric.options.hidden)
        elif kind == "exit":
            log.exit_code = record.exit.exit_code
    return log


def read_finished(path: Path, timeout_s: float = 20.0) -> RunLog:
    """Read a log once it is complete: ``finish()`` returns before the last records are on disk."""
    deadline = time.monotonic() + timeout_s
    while True:
        log = read(path)
        if log.exit_code is not None:
            return log
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} never got its exit record")
        time.sleep(0.02)


def _records(buffer: bytes) -> Iterator[Any]:
    if len(buffer) < 7 or struct.unpack("<4sHB", buffer[:7]) != (b":W&B", 0xBEE1, 0):
        return
    position, part = 7, b""
    while position + 7 <= len(buffer):
        left = _BLOCK - position % _BLOCK
        if left < 7:
            position += left
            continue
        crc, length, kind = struct.unpack("<IHB", buffer[position : position + 7])
        data = buffer[position + 7 : position + 7 + length]
        if len(data) < length or zlib.crc32(data, zlib.crc32(bytes([kind]))) != crc:
            return  # a torn tail
        position += 7 + length
        part = data if kind in (1, 2) else part + data
        if kind in (1, 4):
            record = pb.Record()  # type: ignore[attr-defined]
            record.ParseFromString(part)
            yield record


def _key(item: Any) -> str:
    return "/".join(item.nested_key) if item.nested_key else str(item.key)
