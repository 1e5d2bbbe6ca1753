"""Detectors and sinks of other installed packages, from their entry points.

A package names them in its ``pyproject.toml``; they need no argument to be made::

    [project.entry-points."lightning_diag.detectors"]
    rate-jump = "rate_jump:RateJump"

What can't be loaded, or doesn't keep the contract of its base, is told once and left out.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lightning_diag import detectors as room
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Severity
from lightning_diag.sinks.base import Sink

DETECTORS = "lightning_diag.detectors"
SINKS = "lightning_diag.sinks"

log = logging.getLogger("lightning_diag")


def shipped() -> list[type[Detector]]:
    """Return the classes of all rules this package ships, by rule."""
    named = (getattr(room, name) for name in room.__all__)
    classes = [item for item in named if isinstance(item, type) and issubclass(item, Detector) and item is not Detector]
    return sorted(classes, key=lambda cls: cls.rule)


@cache
def detectors() -> dict[type[Detector], str]:
    """Return the rules of other packages, by rule, each with the name of its package."""
    found: dict[type[Detector], str] = {}
    taken = {name: "lightning-diag" for cls in shipped() for name in (cls.rule, cls.code)}
    for entry in _entries(DETECTORS):
        try:
            cls = _class_of(entry, Detector)
            _check_detector(cls, taken)
        except (Exception, SystemExit) as error:
            _tell(entry, error)
            continue
        found[cls] = _package(entry)
        taken.update({cls.rule: found[cls], cls.code: found[cls]})
    return dict(sorted(found.items(), key=lambda item: item[0].rule))


@cache
def sinks() -> tuple[type[Sink], ...]:
    """Return the sinks of other packages; each run makes its own."""
    found: list[type[Sink]] = []
    for entry in _entries(SINKS):
        try:
            cls = _class_of(entry, Sink)
            cls()
        except (Exception, SystemExit) as error:
            _tell(entry, error)
            continue
        found.append(cls)
    return tuple(found)


def known() -> list[type[Detector]]:
    """Return every rule: the shipped ones, then those of other packages."""
    return [*shipped(), *detectors()]


def _entries(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda entry: (_package(entry), entry.name))


def _class_of(entry: EntryPoint, base: type) -> Any:
    cls = entry.load()
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise TypeError(f"{entry.value} must be a subclass of {base.__name__}, got {cls!r}")
    return cls


def _check_detector(cls: type[Detector], taken: dict[str, str]) -> None:
    for name in ("rule", "code", "title"):
        if not isinstance(getattr(cls, name, None), str):
            raise TypeError(f"{name} must be a string")
    if not all(cls.rule.partition("/")):
        raise ValueError(f"rule must be group/name, got {cls.rule!r}")
    if not isinstance(getattr(cls, "severity", None), Severity):
        raise TypeError("severity must be a Severity")
    if not (isinstance(getattr(cls, "reads", None), tuple) and all(isinstance(name, str) for name in cls.reads)):
        raise TypeError("reads must be a tuple of signals")
    for name in (cls.rule, cls.code):
        if name in taken:
            raise ValueError(f"{name!r} is a rule of {taken[name]}")
    made = cls()
    made.parameters()  # they go into the record,
    made.state_dict()  # this into checkpoints


def _package(entry: EntryPoint) -> str:
    return "an unnamed package" if entry.dist is None else str(entry.dist.name)


def _tell(entry: EntryPoint, error: BaseException) -> None:
    what = f"{entry.name} of {_package(entry)} ({entry.group})"
    log.warning("%s can't be used and is left out: %s: %s", what, type(error).__name__, error)
