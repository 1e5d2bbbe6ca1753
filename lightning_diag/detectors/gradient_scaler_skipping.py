"""``gradients/scaler-skipping``: the gradient scaler throws steps away."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class GradientScalerSkipping(Detector):
    """The scaler of float16 training finds gradients that aren't finite again and again and throws the steps away.

    Catches:
        Activations or a loss beyond 65,504, a NaN that no scale can cure, a learning rate that blows the weights up.

    Formula:
        steps skipped among the last ``window`` steps; the loss scale.

    Reads:
        ``scaler/skipped scaler/scale`` at every step, under ``16-mixed`` only.

    Args:
        limit: skipped steps in the window; higher = fewer findings. Default 5 (a quarter: a healthy scaler skips one
            in 2,000, when it tries a larger scale).
        window: steps looked at; higher = slower, also sees rarer skips. Default 20.
        floor: loss scale below which gradients are too large for the format by themselves; higher = sooner. Default 1.
        settle: steps in which the scaler may look for its scale; higher = later. Default 40 (from 65,536 to 1 are 16
            halvings, each with a skipped step).

    Fires when:
        ``limit`` is reached or the scale is below ``floor`` within the first ``settle`` steps of the run (info); later
        a warning; all steps of the window skipped after ``settle`` are critical: nothing is trained.

    False alarms:
        None above info in 12 healthy float16 trainings of 60 steps on the CPU with first scales from 2 to 2^40
        (``tests/setups/test_float16.py``; both planted faults there are found). Not measured on long trainings or a
        GPU. A value that is not finite counts as not skipped.

    Cost:
        5 µs a reading.

    Examples:
        >>> import numpy as np
        >>> detector = GradientScalerSkipping()
        >>> for step in range(1, 200):
        ...     skipped = step > 100 and step % 3 == 0
        ...     try:
        ...         found = detector.update(Reading(step, 0, {"scaler/skipped": np.float64(skipped)}))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         print(step, found.severity, found.evidence["value"])
        ...         break
        114 warning 5

    References:
        Micikevicius et al., Mixed precision training, ICLR 2018 (arXiv:1710.03740); PyTorch documentation,
        ``torch.amp.GradScaler`` (65,536, x 0.5 at a skipped step, x 2 after 2,000 good ones).
    """

    rule: ClassVar[str] = "gradients/scaler-skipping"
    code: ClassVar[str] = "G007"
    reads: ClassVar[tuple[str, ...]] = ("scaler/skipped",)
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Scaler skips steps"

    def __init__(self, limit: int = 5, window: int = 20, floor: float = 1.0, settle: int = 40) -> None:
        self.limit = whole("limit", limit, 1)
        self.window = whole("window", window, self.limit)
        self.floor = number("floor", floor, 0)
        self.settle = whole("settle", settle, 0)
        super().__init__()

    def _reset(self) -> None:
        self._seen = 0
        self._skipped: list[int] = []  # steps, in the window

    def update(self, reading: Reading) -> Finding | None:
        """Judge the steps that were skipped lately."""
        skipped, scale = reading.scalar("scaler/skipped"), reading.scalar("scaler/scale")
        if skipped is None:
            raise NotMeasurable("skipped steps are not measured at this step")
        self._seen += 1
        recent = [s for s in self._skipped if s > reading.step - self.window]
        self._skipped = [*recent, reading.step] if skipped > 0 else recent
        count = len(self._skipped)
        tiny = scale is not None and 0 <= scale < self.floor and count > 0
        if count >= self.limit or tiny:
            return self._finding(reading, count, scale)
        if self._seen < self.window:
            raise NotMeasurable(f"fewer than {self.window} steps")
        return None

    def _severity(self, count: int) -> Severity:
        if self._seen <= self.settle:
            return Severity.INFO
        return Severity.CRITICAL if count >= self.window else Severity.WARNING

    def _finding(self, reading: Reading, count: int, scale: float | None) -> Finding:
        now = "" if scale is None else f"; the loss scale is {scale:.3g}"
        severity = self._severity(count)
        lost = ": nothing is trained" if severity == Severity.CRITICAL else ""
        looking = " while it looks for its scale" if severity == Severity.INFO else ""
        evidence = {"value": count, "limit": self.limit, "window_steps": self.window}
        return self.found(
            reading,
            severity,
            f"The gradient scaler skipped {count} of the last {self.window} steps (limit {self.limit}) because "
            f"gradients were not finite in float16{looking}{lost}{now}.",
            evidence=evidence if scale is None else {**evidence, "scale": scale},
            advice=(
                'train 200 steps with precision="bf16-mixed", whose range is that of float32: if nothing is skipped '
                "now, values beyond 65,504 were the cause",
                "if it goes on, look for the first module whose output is not finite (activations/non-finite), and "
                "halve the learning rate",
            ),
            step=self._skipped[0] if self._skipped else reading.step,
        )
