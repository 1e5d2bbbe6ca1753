"""One line of ``readings.jsonl``: readings and facts to bytes and back, exact in float32.

Nine significant digits tell any two float32 apart (Goldberg 1991, theorem 15), so a number is written with ``%.9g`` and
comes back as the float32 it was, widened to float64: a replay eats the very numbers the run saw. A finite number beyond
float32's range stays the float64 that was read. NaN and Infinity are spelled as :mod:`json` spells them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Facts, Reading
from lightning_diag.record.conform import MAX_INT, conform, fits
from lightning_diag.signals import SIGNALS

_STEP = b'{"s":'
_SAID_ONCE = frozenset({"run/ended", "domain/named"})  # of the host, and nothing recorded gives them back
_FLOAT32 = struct.Struct("<f")  # the native one turns what is too large into infinity
_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "-0": "-0.0"}


def stored(signal: str) -> bool:
    """Whether a signal is written: all but the host's that a replay makes again from the loss and the classes' counts.

    >>> [stored(s) for s in ("loss/train", "loss/level", "run/ended", "domain/named", "system/overhead_frac")]
    [True, False, True, True, True]
    """
    row = SIGNALS.get(signal)
    return row is None or row.merge != "host" or signal in _SAID_ONCE or signal.startswith("system/")


def encode(reading: Reading) -> bytes:
    r"""Return a reading's line.

    >>> encode(Reading(3, 0, {"loss/train": 2.5, "lr": np.array([0.1, np.nan]), "loss/level": 2.0}))
    b'{"s":3,"e":0,"b":-1,"g":"train","v":{"loss/train":2.5,"lr":[0.1,NaN]}}\n'
    """
    values = reading.values
    return _line(reading, [(key, values[name]) for name, key in _keys(tuple(values))])


def encode_whole(reading: Reading, ids: Sequence[str] = ()) -> bytes:
    r"""Return a reading's line with every value, those of the host too, and with ids of samples where there are any.

    >>> encode_whole(Reading(3, 0, {"loss/train": 2.5, "loss/level": 2.0}), ["12"])
    b'{"s":3,"e":0,"b":-1,"g":"train","v":{"loss/train":2.5,"loss/level":2},"ids":["12"]}\n'
    """
    pairs = [(f"{json.dumps(name)}:", value) for name, value in reading.values.items()]
    return _line(reading, pairs, f',"ids":{json.dumps(list(ids))}' if ids else "")


def _line(reading: Reading, pairs: Sequence[tuple[str, Any]], more: str = "") -> bytes:
    parts = [key + (_number(v) if isinstance(v, (float, int)) else _array(v)) for key, v in pairs]
    values = parts[0] if len(parts) == 1 else ",".join(parts)
    head = f'{{"s":{int(reading.step)},"e":{int(reading.epoch)},"b":{int(reading.batch_idx)},"g":'
    return f'{head}{_quoted(reading.stage)},"v":{{{values}}}{more}}}\n'.encode()


def encode_object(data: Mapping[str, Any]) -> bytes:
    """Return any other line: facts, a note, a finding. ASCII only, so that no character can be torn."""
    return json.dumps(jsonable(data), separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return a line's object.

    Raises:
        ValueError: the line is torn or is no JSON object.
    """
    try:
        data = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return conform(data, object)


def to_facts(data: Any) -> Facts:
    """Return checked facts; raise ``ValueError`` where they have another type."""
    return Facts.from_dict(conform(data, Facts))


def to_reading(data: Mapping[str, Any], facts: Facts) -> Reading:
    """Return the reading of a decoded line; raise ``ValueError`` (or ``KeyError``) where it is none."""
    step, epoch, batch_idx, stage, values = (data[key] for key in "sebgv")
    if not (all(fits(x, int) for x in (step, epoch, batch_idx)) and isinstance(stage, str)):
        raise ValueError("a reading has whole numbers for s, e and b, and a string for g")
    if not isinstance(values, dict):
        raise ValueError(f"a reading's v is an object, got {type(values).__name__}")
    return Reading(step, epoch, {name: _value(value) for name, value in values.items()}, facts, batch_idx, stage)


def step_of(line: bytes) -> int | None:
    """Return the step of a line written by :func:`encode` without parsing the rest; None for any other line."""
    if not line.startswith(_STEP):
        return None
    try:
        return int(line[len(_STEP) : line.index(b",")])
    except ValueError:
        return None


def jsonable(value: Any) -> Any:
    """Return plain JSON data: NumPy numbers and arrays unpacked, keys as strings, anything unknown as its ``str``."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((jsonable(v) for v in value), key=str)
    if isinstance(value, (np.generic, np.ndarray)):
        return jsonable(value.tolist())
    return str(value) if isinstance(value, PurePath) else f"<{type(value).__name__}>"


@lru_cache(maxsize=1024)
def _keys(signals: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The signals of a reading that are written, each with its key."""
    return tuple((signal, f"{json.dumps(signal)}:") for signal in signals if stored(signal))


@lru_cache(maxsize=16)
def _quoted(text: str) -> str:
    return json.dumps(text)


@lru_cache(maxsize=64)
def _format(length: int) -> str:
    return "%.9g," * length


def _number(value: float) -> str:
    text = f"{value:.9g}"
    return _WORDS.get(text, text)


def _array(value: Any) -> str:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0:
        return _number(float(array))
    if array.ndim > 1:
        return f"[{','.join(_array(row) for row in array)}]"
    text = _format(len(array)) % tuple(array.tolist())  # one formatting call: a few hundred ns a number
    if not np.isfinite(array).all():
        text = text.replace("nan", "NaN").replace("inf", "Infinity")
    return f"[{text.replace('-0,', '-0.0,')[:-1]}]"  # an exponent has two digits, so '-0,' is a negative zero


def _value(data: Any) -> Any:
    if isinstance(data, list):
        return _float32(np.asarray(data, dtype=np.float64))
    if isinstance(data, bool) or not isinstance(data, (int, float)) or (isinstance(data, int) and abs(data) > MAX_INT):
        raise ValueError(f"a value is a number or a list, got {type(data).__name__}")
    try:
        return np.float64(_FLOAT32.unpack(_FLOAT32.pack(data))[0])
    except OverflowError:
        return np.float64(data)


def _float32(array: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32).astype(np.float64)
    return np.where(np.isinf(narrow) & np.isfinite(array), array, narrow)
