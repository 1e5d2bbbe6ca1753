"""A sink that keeps everything at hand: the test double for pipelines and callbacks."""

from __future__ import annotations

from collections import deque

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Finding
from lightning_diag.reading import Reading
from lightning_diag.sinks.base import RunInfo, Sink


class MemorySink(Sink):
    """Keeps the last readings and finding events in memory; opening it again starts afresh.

    Args:
        maxlen: number of readings, and of finding events, that are kept; the oldest go first. At least 1.

    Attributes:
        run: what it was opened with; None before.
        closed: the diagnosis it was closed with; None while it is open.

    Examples:
        >>> from lightning_diag.finding import Severity
        >>> sink = MemorySink(maxlen=2)
        >>> for step in (1, 2, 3):
        ...     sink.reading(Reading(step, 0, {"loss/train": 1.0 / step}))
        >>> sink.finding(Finding("loss/spike", Severity.WARNING, 3, 0, (), "..."))
        >>> [r.step for r in sink.readings], [f.rule for f in sink.findings], sink.closed
        ([2, 3], ['loss/spike'], None)
    """

    def __init__(self, maxlen: int = 10_000) -> None:
        if maxlen < 1:
            raise ConfigurationError(f"maxlen must be at least 1, got {maxlen!r}")
        self.maxlen = maxlen
        self._reset()

    def _reset(self) -> None:
        self.run: RunInfo | None = None
        self.closed: Diagnosis | None = None
        self._readings: deque[Reading] = deque(maxlen=self.maxlen)
        self._findings: deque[Finding] = deque(maxlen=self.maxlen)

    @property
    def readings(self) -> list[Reading]:
        """Readings, oldest first."""
        return list(self._readings)

    @property
    def findings(self) -> list[Finding]:
        """Finding events, oldest first."""
        return list(self._findings)

    def open(self, run: RunInfo) -> None:
        """Forget an earlier run."""
        self._reset()
        self.run = run

    def reading(self, reading: Reading) -> None:
        """Keep one reading."""
        self._readings.append(reading)

    def finding(self, finding: Finding) -> None:
        """Keep one finding event."""
        self._findings.append(finding)

    def close(self, diagnosis: Diagnosis) -> None:
        """Keep the diagnosis."""
        self.closed = diagnosis
