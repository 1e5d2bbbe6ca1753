"""The rules under test: every shipped detector with its defaults, new for each run."""

from __future__ import annotations

import lightning_diag.detectors as room
from lightning_diag.detectors.base import Detector


def fresh_detectors() -> list[Detector]:
    """One instance of each detector that the package ships."""
    classes = [getattr(room, name) for name in room.__all__]
    return [c() for c in classes if isinstance(c, type) and issubclass(c, Detector) and c is not Detector]


def shipped_rules() -> frozenset[str]:
    """Names of the rules that can be said today."""
    return frozenset(d.rule for d in fresh_detectors())
