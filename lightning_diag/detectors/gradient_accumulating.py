"""``gradients/accumulating``: gradients of earlier steps are never cleared."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class GradientAccumulating(Detector):
    """Before its first backward pass every step finds the gradient of the steps before: ``zero_grad`` is missing.

    Catches:
        A manual loop without ``zero_grad``, an overridden ``optimizer_zero_grad`` that does nothing.

    Formula:
        norm of the gradient that is there before the first backward of a step, over the norm of the gradient that the
        step then uses, above ``limit`` at every one of the last ``window`` sampled steps.

    Reads:
        ``grad/carried_norm grad/norm`` at sampled steps.

    Args:
        limit: share of the step's gradient. Default 0.1.
        window: sampled steps. Default 10; accumulation on purpose clears in between, mostly before each step.

    Fires when:
        a warning: every step follows the sum of all gradients so far, which no schedule asks for.

    False alarms:
        A step that keeps a decayed gradient on purpose. Several optimizers that share parameters.

    Cost:
        Nothing where gradients are cleared (one look at ``.grad`` a parameter at sampled steps).

    Examples:
        >>> import numpy as np
        >>> detector = GradientAccumulating()
        >>> for step in range(1, 100):
        ...     values = {"grad/carried_norm": np.float64(step - 1), "grad/norm": np.float64(step)}
        ...     try:
        ...         found = detector.update(Reading(step, 0, values))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         break
        >>> step, str(found.severity)
        (11, 'warning')

    References:
        PyTorch documentation, ``torch.optim.Optimizer.zero_grad``. Humbatova et al., Taxonomy of real faults in deep
        learning systems, ICSE 2020 (arXiv:1910.11015).
    """

    rule: ClassVar[str] = "gradients/accumulating"
    code: ClassVar[str] = "G006"
    reads: ClassVar[tuple[str, ...]] = ("grad/carried_norm",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Gradients are never cleared"

    def __init__(self, limit: float = 0.1, window: int = 10) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.window = whole("window", window, 3)
        super().__init__()

    def _reset(self) -> None:
        self._row = 0
        self._judged = 0

    def update(self, reading: Reading) -> Finding | None:
        """Judge the gradient that was there before this step's."""
        carried, norm = reading.scalar("grad/carried_norm"), reading.scalar("grad/norm")
        if carried is None or norm is None:
            raise NotMeasurable("gradients are not measured at this step")
        share = carried / norm if norm > 0 else 0.0  # NaN compares false
        self._judged += 1
        self._row = self._row + 1 if share > self.limit else 0
        if self._judged < self.window and self._row:
            raise NotMeasurable(f"needs {self.window} sampled steps")
        if self._row < self.window:
            return None
        return self.found(
            reading,
            Severity.WARNING,
            f"For {self._row} sampled steps gradients of earlier steps were still there when backward began, lastly "
            f"{percent(share)} of the gradient (limit {percent(self.limit)}): nothing clears them.",
            evidence={"value": share, "limit": self.limit, "samples": float(self._row)},
            advice=("call `optimizer.zero_grad()` before each backward pass, and repeat the first 200 steps",),
        )
