"""A linter for training runs: one Lightning callback that says in plain words what is wrong with a training.

Every public name has this one address; it is loaded when it is first used, so that ``import lightning_diag`` costs
nearly nothing and the command line starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_diag._replay import check
    from lightning_diag.detectors.base import Detector
    from lightning_diag.diagnosis import Diagnosis
    from lightning_diag.finding import Finding, Severity
    from lightning_diag.monitors import (
        ActivationMonitor,
        ClassErrorMonitor,
        DataMonitor,
        Diagnostics,
        DomainGapMonitor,
        GradientMonitor,
        SanityMonitor,
        StabilityMonitor,
        ThroughputMonitor,
        findings,
    )
    from lightning_diag.observation import Observation
    from lightning_diag.reading import Reading
    from lightning_diag.record import load
    from lightning_diag.sinks import MemorySink, Sink
    from lightning_diag.sinks.workspace import wandb_workspace

__version__ = "0.1.0"

_HOMES = {
    "ActivationMonitor": "lightning_diag.monitors",
    "ClassErrorMonitor": "lightning_diag.monitors",
    "DataMonitor": "lightning_diag.monitors",
    "Detector": "lightning_diag.detectors.base",
    "Diagnosis": "lightning_diag.diagnosis",
    "Diagnostics": "lightning_diag.monitors",
    "DomainGapMonitor": "lightning_diag.monitors",
    "Finding": "lightning_diag.finding",
    "GradientMonitor": "lightning_diag.monitors",
    "MemorySink": "lightning_diag.sinks",
    "Observation": "lightning_diag.observation",
    "Reading": "lightning_diag.reading",
    "SanityMonitor": "lightning_diag.monitors",
    "Severity": "lightning_diag.finding",
    "Sink": "lightning_diag.sinks",
    "StabilityMonitor": "lightning_diag.monitors",
    "ThroughputMonitor": "lightning_diag.monitors",
    "check": "lightning_diag._replay",
    "findings": "lightning_diag.monitors",
    "load": "lightning_diag.record",
    "wandb_workspace": "lightning_diag.sinks.workspace",
}

__all__ = [
    "ActivationMonitor",
    "ClassErrorMonitor",
    "DataMonitor",
    "Detector",
    "Diagnosis",
    "Diagnostics",
    "DomainGapMonitor",
    "Finding",
    "GradientMonitor",
    "MemorySink",
    "Observation",
    "Reading",
    "SanityMonitor",
    "Severity",
    "Sink",
    "StabilityMonitor",
    "ThroughputMonitor",
    "__version__",
    "check",
    "findings",
    "load",
    "wandb_workspace",
]

if not TYPE_CHECKING:  # a checker must see the names above, not a function that answers for any

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
