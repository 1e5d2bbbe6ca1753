"""One rule: the learning rate makes a jump."""

from __future__ import annotations

from lightning_diag import Detector, Finding, Reading, Severity
from lightning_diag.errors import ConfigurationError, NotMeasurable


class RateJump(Detector):
    """The learning rate grew many times from one sampled step to the next.

    Catches:
        A schedule with a wrong unit (epochs where steps were meant), a restart at the full rate.

    Formula:
        lr now / lr at the sample before, the largest of all parameter groups.

    Args:
        limit: times the rate may grow between two sampled steps; a higher value fires later. The default is a choice.

    Examples:
        >>> detector = RateJump()
        >>> for step, rate in enumerate([0.001, 0.001, 0.5, 0.5]):
        ...     try:
        ...         found = detector.update(Reading(step, 0, {"lr": [rate]}))
        ...     except NotMeasurable:
        ...         continue
        ...     if found:
        ...         print(step, found.message)
        2 The learning rate rose from 0.001 to 0.5, limit 10 times.
    """

    rule = "updates/rate-jump"
    code = "MINE001"  # any that no other rule has
    reads = ("lr",)
    severity = Severity.WARNING
    title = "Learning rate jumps"
    resolve_after = None

    def __init__(self, limit: float = 10.0) -> None:
        """Check and keep the limit."""
        if not limit > 1:
            raise ConfigurationError(f"limit must be above 1, got {limit!r}")
        self.limit = limit
        super().__init__()

    def _reset(self) -> None:
        self.last: float | None = None

    def update(self, reading: Reading) -> Finding | None:
        """Compare with the sample before."""
        rates = reading.vector("lr")
        rate = float(rates.max()) if rates is not None and rates.size else 0.0
        if not 0 < rate < float("inf"):
            raise NotMeasurable(f"a learning rate of {rate:g} is compared with nothing")
        before, self.last = self.last, rate
        if before is None:
            raise NotMeasurable("no earlier learning rate to compare with")
        if rate <= self.limit * before:
            return None
        message = f"The learning rate rose from {before:g} to {rate:g}, limit {self.limit:g} times."
        advice = ("plot the schedule: are its lengths in steps or in epochs?",)
        return self.found(
            reading, Severity.WARNING, message, evidence={"value": rate / before, "limit": self.limit}, advice=advice
        )
