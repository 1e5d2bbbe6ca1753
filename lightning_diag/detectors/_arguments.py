"""Checks of constructor arguments: the error names the argument, what it accepts and what it got."""

from __future__ import annotations

import math

from lightning_diag.errors import ConfigurationError


def whole(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return ``value`` if it is a whole number within ``[low, high]``.

    Raises:
        ConfigurationError: it isn't.

    >>> whole("window", 64, 8)
    64
    >>> whole("window", 2.5, 8)
    Traceback (most recent call last):
    ...
    lightning_diag.errors.ConfigurationError: window must be a whole number of at least 8, got 2.5
    """
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high)
    if not fits or not isinstance(value, int):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigurationError(f"{name} must be a whole number {span}, got {value!r}")
    return value


def number(name: str, value: object, low: float, high: float = math.inf) -> float:
    """Return ``value`` as a float if it is a finite number within ``[low, high]``.

    Raises:
        ConfigurationError: it isn't.

    >>> number("limit", 8, 0)
    8.0
    >>> number("share", 1.5, 0, 1)
    Traceback (most recent call last):
    ...
    lightning_diag.errors.ConfigurationError: share must be a number from 0 to 1, got 1.5
    """
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
        span = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ConfigurationError(f"{name} must be a number {span}, got {value!r}")
    return float(value)
