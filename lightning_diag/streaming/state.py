"""State of streaming objects as plain data: dicts, lists, numbers, strings, None. No pickles, ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np


class Stateful(Protocol):
    """Anything that can hand out and take back its state as plain data."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back; leaves ``state`` alone."""


def snapshot(obj: object, skip: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return all instance attributes of ``obj`` but ``skip`` as plain data (copies, never references).

    >>> class Counter:
    ...     def __init__(self): self.n, self.seen = 2, deque([1.0], maxlen=3)
    >>> snapshot(Counter())
    {'n': 2, 'seen': [1.0]}
    """
    return {name: _plain(value) for name, value in vars(obj).items() if name not in skip}


def restore(obj: object, state: Mapping[str, Any]) -> None:
    """Put a :func:`snapshot` back into ``obj``, whose attributes (as made by its ``_reset``) give the types.

    Names that ``obj`` doesn't have are ignored (a newer version wrote them); names that ``state`` doesn't have keep
    their value.
    """
    mine = vars(obj)
    for name in mine.keys() & state.keys():
        setattr(obj, name, _like(mine[name], state[name]))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(v) for v in value)
    if hasattr(value, "state_dict"):
        return cast(Stateful, value).state_dict()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} is not plain data and has no state_dict()")


def _like(template: Any, data: Any) -> Any:
    if hasattr(template, "load_state_dict"):
        template.load_state_dict(data)
        return template
    if isinstance(template, np.ndarray) and data is not None:
        return np.asarray(data, dtype=template.dtype)
    if isinstance(template, deque):
        return deque(_copy(data), maxlen=template.maxlen)
    if isinstance(template, set):
        return set(data)
    if isinstance(template, tuple):
        return tuple(_copy(data))
    return _copy(data)


def _copy(data: Any) -> Any:
    """A deep copy of plain data, so that loading leaves the argument alone."""
    if isinstance(data, Mapping):
        return {k: _copy(v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return [_copy(v) for v in data]
    return data
