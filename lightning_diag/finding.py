"""What a detector says: a frozen, plain-data :class:`Finding` and its :class:`Severity`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from types import MappingProxyType
from typing import Any

STATUSES = ("open", "worsening", "resolved")
Evidence = float | int | str


class Severity(IntEnum):
    """How bad a finding is.

    ``INFO``: the symptom is there, the run does not suffer. ``WARNING``: the symptom is there and the run is
    worse for it. ``CRITICAL``: the run is lost if nothing changes.

    >>> Severity.INFO < Severity.WARNING < Severity.CRITICAL
    True
    >>> str(Severity.WARNING), Severity.parse("critical")
    ('warning', <Severity.CRITICAL: 2>)
    """

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, value: str | int) -> Severity:
        """Return the severity with this name (any case) or number; raise ``ValueError`` otherwise."""
        if isinstance(value, str):
            try:
                return cls[value.upper()]
            except KeyError:
                raise ValueError(f"severity must be one of {[str(s) for s in cls]}, got {value!r}") from None
        return cls(value)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what, where, since when, how sure, and what to try next.

    Args:
        rule: public name ``group/name`` of the rule that fired.
        severity: see :class:`Severity`.
        step: optimizer step that was *measured* when it was as ``message`` and ``evidence`` say (1 = the first step).
        epoch: epoch of that step, counted from 0.
        where: parameter, module, class, domain or rank names, worst first; empty means the whole run.
        message: one sentence that holds the value and the limit.
        evidence: the numbers behind it; holds ``value`` and ``limit`` where the rule compares two numbers, and
            ``confidence`` (0 to 1) where the rule can state one.
        advice: next experiments, cheapest first.
        status: ``open``, ``worsening`` or ``resolved``.
        first_step: first measured step at which it held.
        last_step: last measured step at which it held.
        count: number of evaluations at which it held.

    >>> f = Finding("loss/spike", Severity.WARNING, 41, 0, (), "loss 9.1 is 4 times its median 2.2")
    >>> Finding.from_dict(f.to_dict()) == f
    True
    """

    rule: str
    severity: Severity
    step: int
    epoch: int
    where: tuple[str, ...]
    message: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    status: str = "open"
    first_step: int = -1
    last_step: int = -1
    count: int = 1

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {STATUSES}, got {self.status!r}")
        group, _, name = self.rule.partition("/")
        if not group or not name:
            raise ValueError(f"rule must look like 'group/name', got {self.rule!r}")
        set_ = object.__setattr__
        set_(self, "severity", Severity(self.severity))
        for name in ("step", "epoch", "first_step", "last_step", "count"):
            set_(self, name, int(getattr(self, name)))  # NumPy's integers are no JSON
        set_(self, "where", tuple(str(w) for w in self.where))
        set_(self, "advice", tuple(self.advice))
        set_(self, "evidence", MappingProxyType({str(k): _plain(v) for k, v in self.evidence.items()}))
        if self.first_step < 0:
            set_(self, "first_step", self.step)
        if self.last_step < 0:
            set_(self, "last_step", self.step)

    def __hash__(self) -> int:
        return hash((self.rule, self.step, self.where, self.message))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Finding.from_dict, (self.to_dict(),))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; a non-finite number becomes a string (``"nan"``, ``"inf"``), as JSON has none."""
        data: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        data["severity"] = str(self.severity)
        data["where"] = list(self.where)
        data["advice"] = list(self.advice)
        data["evidence"] = dict(self.evidence)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Rebuild a finding from :meth:`to_dict`; unknown keys of newer versions are ignored."""
        known = {f.name for f in fields(cls)}
        kept = {k: v for k, v in data.items() if k in known}
        kept["severity"] = Severity.parse(kept["severity"])
        kept["where"] = tuple(kept["where"])
        kept["advice"] = tuple(kept.get("advice", ()))
        return cls(**kept)


def _plain(value: Any) -> Evidence:
    """A plain, JSON-able scalar: NumPy numbers lose their type, non-finite ones become words."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    number = float(value)
    if math.isfinite(number):
        return int(value) if number.is_integer() and not isinstance(value, float) else number
    return str(number)
