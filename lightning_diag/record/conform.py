"""Plain data from a file against the types it must have: a record may be damaged, edited by hand, or made up."""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

MAX_INT = 2**63  # what NumPy and every consumer can take


@lru_cache(maxsize=16)
def hints(cls: type) -> dict[str, Any]:
    """Return field name -> type of an annotated class."""
    return get_type_hints(cls)


def conform(data: Any, cls: type) -> dict[str, Any]:
    """Return ``data`` when it is a dict whose entries fit the fields of ``cls``; unknown keys are let through.

    Raises:
        ValueError: it isn't a dict, or an entry has another type; the message names the entry.

    >>> from lightning_diag.reading import Facts
    >>> conform({"planned_steps": 10, "names": {"group": ["0"]}, "from_the_future": 1}, Facts)["planned_steps"]
    10
    >>> conform({"planned_steps": "ten"}, Facts)
    Traceback (most recent call last):
    ...
    ValueError: planned_steps can't be 'ten'
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected an object, got {_short(data)}")
    for name, hint in hints(cls).items():
        if name in data and not fits(data[name], hint):
            raise ValueError(f"{name} can't be {_short(data[name])}")
    return data


def fits(value: Any, hint: Any) -> bool:
    """Whether JSON data can stand for a type: lists for tuples, objects for mappings, integers for floats.

    Booleans are no numbers and integers beyond 64 bit fit nothing. A class that isn't one of JSON's (an enum, say) is
    left to its own constructor.
    """
    if hint is int:  # first: three a reading, and a record may hold a million
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_INT
    origin, args = get_origin(hint), get_args(hint)
    if origin is Union or origin is types.UnionType:
        return any(fits(value, arg) for arg in args)
    if origin is tuple:
        return isinstance(value, list) and all(fits(item, args[0]) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(fits(item, args[1]) for item in value.values())
    if hint is float:
        return isinstance(value, float) or fits(value, int)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    return True


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, float, bool, type(None))) else type(value).__name__
    return text if len(text) <= 40 else text[:37] + "..."
