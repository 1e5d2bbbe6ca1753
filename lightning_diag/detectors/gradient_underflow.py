"""``gradients/underflow``: gradients are so small that the number format rounds them to a few steps, or to zero."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import SURE_STEPS, Consequence
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class GradientUnderflow(Detector):
    """Gradients lie at the lower end of float16: many are zero, the others whole multiples of its smallest number.

    Catches:
        float16 without a gradient scaler, a loss scale that is too small, losses divided by the wrong count.

    Formula:
        share of the nonzero gradients (a sample of at most 16 x 1,024) that are 1, 2, 3 ... 32 times the smallest of
        them above ``limit`` at each of ``samples`` samples in a row. 5 bits and less are left of float16's 11 there.

    Reads:
        ``grad/quantized_frac grad/zero_frac`` where sampled, ``loss/relative`` beside them.

    Args:
        limit: share of the nonzero gradients; higher = fires later, on fewer runs. Default 0.25.
        samples: samples in a row; higher = later. Default 5.
        stuck: R (``loss/relative``) above which the run is not learning; higher = fewer warnings. Default 0.9.

    Fires when:
        it holds (info: digits were learned as well with two thirds of the gradients there); a warning when R >
        ``stuck`` after 2 % of the plan (60 to 1,000 steps; 30 when R > 0.985).

    False alarms:
        Gradients that are few different numbers by nature (a sign loss on binary inputs). Measured: `docs/accuracy.md`.

    Cost:
        5 µs a reading.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> detector, facts = GradientUnderflow(), Facts(planned_steps=1000, chance_loss=2.3)
        >>> for step in range(1, 200):
        ...     values = {"grad/quantized_frac": np.float64(0.8), "grad/zero_frac": np.float64(0.7)}
        ...     values["loss/relative"] = np.float64(1.0)
        ...     try:
        ...         found = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None and step in (5, 60):
        ...         print(step, found.severity)
        5 info
        60 warning

    References:
        Micikevicius et al., Mixed precision training, ICLR 2018 (arXiv:1710.03740), section 3.2: 5 % to 67 % of
        gradients below float16's range without loss scaling.
    """

    rule: ClassVar[str] = "gradients/underflow"
    code: ClassVar[str] = "G008"
    reads: ClassVar[tuple[str, ...]] = ("grad/quantized_frac", "grad/zero_frac")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Gradients underflow"

    def __init__(self, limit: float = 0.25, samples: int = 5, stuck: float = 0.9) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.samples = whole("samples", samples, 1)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=SURE_STEPS)
        self._row = 0
        self._judged = 0
        self._since = -1

    def update(self, reading: Reading) -> Finding | None:
        """Judge the gradients of a sampled step."""
        self._run.see(reading)
        near, zero = reading.scalar("grad/quantized_frac"), reading.scalar("grad/zero_frac")
        if near is None or zero is None:
            raise NotMeasurable("the size of single gradients is not measured at this step")
        if math.isnan(near):
            raise NotMeasurable("hardly any gradient isn't zero")
        self._judged += 1
        if near <= self.limit:
            self._row = 0
            return None
        self._row += 1
        self._since = reading.step if self._row == 1 else self._since
        if self._row < self.samples:
            if self._judged < self.samples:
                raise NotMeasurable(f"needs {self.samples} samples")
            return None
        suffers = self._run.stuck(self.stuck)
        loss = self._run.in_words(suffers)
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"{percent(zero)} of the gradients are zero and {percent(near)} of the others are 1 to 32 times the "
            f"smallest that isn't (limit {percent(self.limit)}), since step {self._since}{loss}.",
            evidence={"value": near, "limit": self.limit, "zero": zero, "relative_loss": self._run.relative},
            advice=(
                'train 200 steps with precision="bf16-mixed", whose range is that of float32: if the loss falls, this '
                "was it",
                'or use precision="16-mixed", which scales the loss, and divide the loss only once',
            ),
            step=self._since,
        )
