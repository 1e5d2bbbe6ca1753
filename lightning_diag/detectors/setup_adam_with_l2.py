"""``setup/adam-with-l2``: Adam's weight decay is an L2 penalty, and not AdamW's decay."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

COUPLED = ("Adam", "NAdam", "RAdam")  # torch's, whose decay goes through the gradient's normalization


class SetupAdamWithL2(Detector):
    """Adam with ``weight_decay`` adds the weights to the gradient, where its normalization takes the decay back.

    Catches:
        ``Adam(weight_decay=...)`` where AdamW was meant: weights with large gradients are decayed less than those with
        small ones, and the best decay depends on the learning rate.

    Formula:
        a parameter group of an optimizer named Adam, NAdam or RAdam with a weight decay above 0.

    Reads:
        ``optimizer/weight_decay`` once, and the names of the groups.

    Fires when:
        info only: with little decay both train alike.

    False alarms:
        It never warns. ``Adam(decoupled_weight_decay=True)`` of newer PyTorch is AdamW and noted all the same.

    Cost:
        Once a run.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"group": ("Adam group 0", "Adam group 1")})
        >>> found = SetupAdamWithL2().update(Reading(1, 0, {"optimizer/weight_decay": [0.0, 0.01]}, facts))
        >>> found.step, str(found.severity), found.where
        (1, 'info', ('Adam group 1',))

    References:
        Loshchilov & Hutter, Decoupled weight decay regularization, ICLR 2019 (arXiv:1711.05101).
    """

    rule: ClassVar[str] = "setup/adam-with-l2"
    code: ClassVar[str] = "Z003"
    reads: ClassVar[tuple[str, ...]] = ("optimizer/weight_decay",)
    severity: ClassVar[Severity] = Severity.INFO
    title: ClassVar[str] = "Adam with an L2 penalty"
    resolve_after: ClassVar[int | None] = None

    def _reset(self) -> None:
        self._looked = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge the optimizers' settings once."""
        if self._looked:
            return None
        decay, names = reading.vector("optimizer/weight_decay"), reading.names("group")
        if decay is None or len(decay) != len(names) or not np.isfinite(decay).all():
            raise NotMeasurable("weight decay and the optimizers' names are not known")
        self._looked = True
        found = [i for i, name in enumerate(names) if name.split(" ")[0] in COUPLED and decay[i] > 0]
        if not found:
            return None
        value = float(decay[found].max())
        kind = names[found[0]].split(" ")[0]
        return self.found(
            reading,
            Severity.INFO,
            f"{kind} has a weight decay of {value:g} (limit 0): it is added to the gradient and normalized with it, "
            "which AdamW doesn't do.",
            where=[names[i] for i in found],
            evidence={"value": value, "limit": 0.0},
            advice=(
                "train once with AdamW at the same settings and 10 times the weight decay, and compare validation",
            ),
        )
