"""Hooks that stay behind when the user's module is copied or pickled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


class Inert:
    """Base of hooks: a deep copy or pickle of a module gets a function in its place that does nothing.

    What is unpickled needs nothing of this package: it is the ``__exit__`` of a ``contextlib.nullcontext``, which takes
    any arguments and returns None.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return contextlib.nullcontext().__exit__

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class Forwarding(Inert):
    """An inert hook that calls a function with whatever it is called with."""

    def __init__(self, call: Callable[..., None]) -> None:
        self.call = call

    def __call__(self, *args: Any) -> None:
        """Pass the call on."""
        self.call(*args)
