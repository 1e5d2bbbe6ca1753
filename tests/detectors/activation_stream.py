"""Hand-made readings for the tests of the activation rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading

NAN = float("nan")
MODULES = ("a", "b", "c")
Signals = Mapping[str, Sequence[float]]


def reading(
    step: int,
    signals: Signals,
    *,
    relative: float = 1.0,
    loss: float | None = None,
    order: Sequence[float] | None = None,
    planned: int | None = 500,
    **facts: Any,
) -> Reading:
    """One sampled step; signals are per-module arrays named without their group."""
    values: dict[str, Any] = {f"activation/{name}": np.array(value, float) for name, value in signals.items()}
    values["loss/relative"] = np.float64(relative)
    values["loss/level"], values["loss/best"] = np.float64(2.3 * relative), np.float64(min(2.3, 2.3 * relative))
    if loss is not None:
        values["loss/train"] = np.float64(loss)
    if order is not None:
        values["activation/call_order"] = np.array(order, float)
    known = Facts(planned_steps=planned, chance_loss=2.3, names={"module": MODULES}, **facts)
    return Reading(step, 0, values, known, batch_idx=step - 1)


def verdicts(
    detector: Detector, signals: Callable[[int], Signals], steps: Iterable[int], **kwargs: Any
) -> dict[int, Finding | None]:
    """Step -> finding; steps at which the rule was not measurable are left out."""
    found: dict[int, Finding | None] = {}
    for step in steps:
        try:
            found[step] = detector.update(reading(step, signals(step), **kwargs))
        except NotMeasurable:
            continue
    return found


def severities(found: Mapping[int, Finding | None]) -> dict[int, str]:
    """Step -> severity, only where it changes."""
    out: dict[int, str] = {}
    last = ""
    for step, finding in found.items():
        now = "-" if finding is None else str(finding.severity)
        if now != last:
            out[step] = last = now
    return out


def saved_and_loaded(detector: Detector) -> Detector:
    """A fresh detector with the state, which went through JSON."""
    fresh = type(detector)()
    fresh.load_state_dict(json.loads(json.dumps(detector.state_dict())))
    return fresh
