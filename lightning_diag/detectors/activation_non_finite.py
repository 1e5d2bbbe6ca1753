"""``activations/non-finite``: a module's output holds NaN or infinity."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._modules import and_more, arrays, first_called, named
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class ActivationNonFinite(Detector):
    """A module's output holds NaN or infinity; the first module of the forward pass that does is named first.

    Catches:
        Overflow in half precision, a division or logarithm of 0, a fully masked row of attention, weights that are NaN.

    Formula:
        Share of a module's sampled output elements that are NaN or infinite, above ``limit``.

    Reads:
        ``activation/nonfinite_frac activation/call_order`` where sampled, ``loss/train`` beside them.

    Args:
        limit: share above which it counts; higher = only larger outbreaks. Default 0.

    Fires when:
        share > ``limit``: critical when the loss of the step is not finite either, else info (rows that are masked out
        later may be NaN and do no harm).

    False alarms:
        No warning in 72 healthy trainings of 36 kinds, no note either (benchmarks/results/activation_rules.md). A
        float64 value beyond float32's range counts as infinite. Recall on the harmful planted faults: 10 of 10.

    Cost:
        4 µs a sample of 50 modules, 25 µs while it holds.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts, detector = Facts(names={"module": ("net.1", "net.3")}), ActivationNonFinite()
        >>> for step in range(1, 40):
        ...     bad = np.array([0.0, 0.5 if step >= 30 else 0.0])
        ...     values = {"activation/nonfinite_frac": bad, "loss/train": np.float64("nan" if step >= 30 else 1.0)}
        ...     finding = detector.update(Reading(step, 0, values, facts))
        ...     if finding is not None and step == 30:
        ...         print(step, finding.severity, finding.where)
        30 critical ('net.3',)

    References:
        Micikevicius et al., Mixed Precision Training, 2018 (arXiv:1710.03740), on overflow in float16.
    """

    rule: ClassVar[str] = "activations/non-finite"
    code: ClassVar[str] = "A003"
    reads: ClassVar[tuple[str, ...]] = ("activation/nonfinite_frac",)
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Non-finite activations"

    def __init__(self, limit: float = 0.0) -> None:
        self.limit = number("limit", limit, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._first = ""  # the first module of the first bad sample: later on everything is bad

    def update(self, reading: Reading) -> Finding | None:
        """Judge the outputs of this step."""
        (bad,) = arrays(reading, "activation/nonfinite_frac")
        mask = bad > self.limit
        if not mask.any():
            self._first = ""
            return None
        indices = first_called(reading, mask)
        loss = reading.scalar("loss/train")
        lost = loss is not None and not math.isfinite(loss)
        where = named(reading, indices)
        self._first = self._first or where[0]
        where = tuple(dict.fromkeys((self._first, *where)))
        share = float(bad[indices[0]])
        told = "and so is the loss" if lost else "the loss is finite" if loss is not None else "the loss is not known"
        return self.found(
            reading,
            Severity.CRITICAL if lost else Severity.INFO,
            f"{percent(share)} of the output of {where[0]} is NaN or infinite (limit {self.limit:g}; {told})"
            f"{and_more(len(indices))}.",
            where=where,
            evidence={
                "value": share,
                "limit": self.limit,
                "modules": len(indices),
                "batch_idx": reading.batch_idx,
                "loss": "not measured" if loss is None else loss,
            },
            advice=(
                f"run batch {reading.batch_idx} of epoch {reading.epoch} alone and check `torch.isfinite` of what goes "
                f"into {where[0]} and of its weights: bad inputs come from the data, bad weights from the step before",
                f"look into {where[0]} and what feeds it for a division, log, sqrt, exp or a completely masked row",
                "repeat the steps before it in float32 (precision='32-true'): if it stays finite, it was the range",
            ),
        )
