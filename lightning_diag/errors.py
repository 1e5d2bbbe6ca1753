"""Every error this package raises, as one tree.

::

    DiagnosticsError
    ├── ConfigurationError   a user's argument is wrong (also a ValueError)
    ├── NotMeasurable        a number can't be had here; says why, never a fault
    ├── RecordError          a run record can't be read or written
    └── MissingExtraError    an optional package is not installed (also an ImportError)
"""

from __future__ import annotations


class DiagnosticsError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(DiagnosticsError, ValueError):
    """A user's argument is wrong; the message names argument, accepted values and the value given."""


class NotMeasurable(DiagnosticsError):  # noqa: N818 - a state, not a fault
    """A signal or a rule can't be judged here. ``str(error)`` is the reason shown to the user.

    A detector raises it from ``update`` while it has too little data or where its assumptions don't hold;
    the reason ends up in the coverage of the verdict. It is never shown as an error.
    """


class RecordError(DiagnosticsError):
    """A run record can't be read or written; the message names the path."""


class MissingExtraError(DiagnosticsError, ImportError):
    """A package is missing; the message says what to install: an extra, or without one the package itself."""

    def __init__(self, package: str, extra: str | None = None) -> None:
        wanted = package if extra is None else f"'lightning-diag[{extra}]'"
        super().__init__(f"{package} is not installed: pip install {wanted}")
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str | None]]:
        return type(self), (self.package, self.extra)  # Exception's own would call it with the message alone
