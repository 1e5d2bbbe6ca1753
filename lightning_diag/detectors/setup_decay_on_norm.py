"""``setup/decay-on-norm``: strong weight decay pulls the scales of normalization layers to zero, too."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._parameters import listed, places, where
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class SetupDecayOnNorm(Detector):
    """Weight decay is strong, and the scales of normalization layers get it like the weight matrices.

    Catches:
        ``AdamW(model.parameters(), weight_decay=0.1)`` of a recipe that leaves norms and biases out.

    Formula:
        norm parameters whose optimizer gives them a weight decay of at least ``least``.

    Reads:
        facts only, at the first ``optimizer/weight_decay``.

    Args:
        least: weight decay below which it hardly matters; higher = said less often. Default 0.05, the smallest of the
            recipes that leave norms out (ConvNeXt, MAE, ViT: 0.05 to 0.3); AdamW's own default is 0.01.

    Fires when:
        info only: many good models were trained so.

    False alarms:
        It never warns.

    Cost:
        Once a run.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"parameter": ("fc.weight", "norm.weight")}, parameter_kind=("matrix", "norm"),
        ...               parameter_numel=(64, 8), parameter_decay=(0.1, 0.1))
        >>> found = SetupDecayOnNorm().update(Reading(1, 0, {"optimizer/weight_decay": [0.1]}, facts))
        >>> found.step, str(found.severity), found.where
        (1, 'info', ('norm.weight',))

    References:
        He et al., Bag of tricks for image classification, CVPR 2019 (arXiv:1812.01187), "no bias decay". Liu et al., A
        ConvNet for the 2020s, CVPR 2022 (arXiv:2201.03545).
    """

    rule: ClassVar[str] = "setup/decay-on-norm"
    code: ClassVar[str] = "Z001"
    reads: ClassVar[tuple[str, ...]] = ("optimizer/weight_decay",)
    severity: ClassVar[Severity] = Severity.INFO
    title: ClassVar[str] = "Weight decay on norms"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, least: float = 0.05) -> None:
        self.least = number("least", least, 0)
        super().__init__()

    def _reset(self) -> None:
        self._looked = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge the optimizers' settings once."""
        facts = reading.facts
        if self._looked:
            return None
        if not facts.parameter_kind or len(facts.parameter_decay) != len(facts.parameter_kind):
            raise NotMeasurable("which weight decay each parameter gets is not known")
        self._looked = True
        decay = np.array(facts.parameter_decay, dtype=np.float64)
        norms = np.array([kind == "norm" for kind in facts.parameter_kind])
        mask = norms & (decay >= self.least) & (decay > 0)
        if not mask.any():
            return None
        found = places(reading, mask)
        value = float(decay[mask].max())
        what = listed(found) if found else "all of them"
        return self.found(
            reading,
            Severity.INFO,
            f"{int(mask.sum())} of {int(norms.sum())} parameters of normalization layers get a weight decay of "
            f"{value:g} (limit {self.least:g}): {what}.",
            where=where(found),
            evidence={"value": value, "limit": self.least},
            advice=(
                "give norms and biases a parameter group of their own with weight_decay=0, and compare validation",
            ),
        )
