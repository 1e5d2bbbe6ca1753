"""Detectors with limits from the command line: ``--set loss/spike.limit=12``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from lightning_diag._plugins import known
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import ConfigurationError


def detectors(given: Sequence[str]) -> list[Detector] | None:
    """Return every detector with these limits; None without any, which stands for the defaults.

    Args:
        given: texts ``rule.argument=value``; the value is read as the default's type.

    Raises:
        ConfigurationError: a rule, an argument or a value is wrong.

    >>> made = detectors(["loss/spike.limit=12", "loss/spike.repeats=5"])
    >>> [(d.limit, d.repeats) for d in made if d.rule == "loss/spike"]
    [(12.0, 5)]
    """
    if not given:
        return None
    wanted: dict[str, dict[str, Any]] = {}
    classes = {cls.rule: cls for cls in known()}
    for text in given:
        name, _, value = text.partition("=")
        rule, _, argument = name.strip().rpartition(".")
        if not rule or not value:
            raise ConfigurationError(f"--set must be RULE.LIMIT=VALUE, such as loss/spike.limit=12, got {text!r}")
        if rule not in classes:
            raise ConfigurationError(f"--set {text}: no rule is called {rule!r}{_meant(rule, classes)}")
        defaults = classes[rule]().parameters()
        if argument not in defaults:
            raise ConfigurationError(f"--set {text}: {rule} has no limit {argument!r}; it has {', '.join(defaults)}")
        wanted.setdefault(rule, {})[argument] = _value(text, value.strip(), defaults[argument])
    return [cls(**wanted.get(rule, {})) for rule, cls in classes.items()]


def _value(text: str, value: str, default: object) -> object:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(default, (int, float)):
            return type(default)(value)
    except (ValueError, KeyError):
        raise ConfigurationError(f"--set {text}: the value must be {type(default).__name__}, got {value!r}") from None
    return value


def _meant(rule: str, classes: dict[str, type[Detector]]) -> str:
    near = difflib.get_close_matches(rule, classes, 1, 0.4)
    return f"; did you mean {near[0]}?" if near else ""
