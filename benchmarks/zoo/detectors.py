"""The rules under test: the detectors that ``Diagnostics()`` runs, with their default limits."""

from __future__ import annotations

from lightning_diag import Diagnostics
from lightning_diag.detectors.base import Detector


def fresh_detectors() -> list[Detector]:
    """New instances of the default detectors."""
    return list(Diagnostics().parts().detectors)


def shipped_rules() -> frozenset[str]:
    """Names of the rules that can be said today."""
    return frozenset(d.rule for d in fresh_detectors())
