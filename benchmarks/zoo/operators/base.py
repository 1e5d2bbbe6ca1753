"""The table of operators."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.zoo.plan import Plan

Operator = Callable[[Plan, float], None]
OPERATORS: dict[str, Operator] = {}


def operator(name: str) -> Callable[[Operator], Operator]:
    """Enter the decorated function under ``name``."""

    def enter(function: Operator) -> Operator:
        if name in OPERATORS:
            raise ValueError(f"operator {name!r} is listed twice")
        OPERATORS[name] = function
        return function

    return enter


def apply(name: str, plan: Plan, severity: float) -> Plan:
    """Edit the plan by this operator and return it."""
    try:
        OPERATORS[name](plan, severity)
    except KeyError as error:
        raise ValueError(f"operator must be one of {sorted(OPERATORS)}, got {name!r}") from error
    return plan


@operator("healthy")
def healthy(plan: Plan, severity: float) -> None:
    """The twin: nothing changed."""
