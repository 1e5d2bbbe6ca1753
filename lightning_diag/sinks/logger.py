"""The sink for any other Lightning logger: CSV, TensorBoard, MLflow, one's own."""

from __future__ import annotations

from typing import Any, Protocol

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Finding
from lightning_diag.reading import Reading
from lightning_diag.sinks._metrics import RowLimit, metrics
from lightning_diag.sinks.base import RunInfo, Sink


class MetricsLogger(Protocol):
    """What is asked of a logger."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take numbers of one step."""


class LoggerSink(Sink):
    """Sends the logged statistics of readings through a logger's ``log_metrics(metrics, step)``.

    Keys are those of :func:`lightning_diag.signals.logged_keys`, values Python floats, non-finite ones included.
    Loggers hold numbers, so findings don't go there. A pickled or copied sink keeps its logger, as the logger itself
    allows.

    Args:
        logger: anything with ``log_metrics``.
        log_every_n_steps: spacing of rows that hold only the training loss and what is made of it; sampled readings
            always get a row. Higher means fewer rows.
        max_rows: rows after which a long run is logged more sparsely; higher means more rows.

    Examples:
        >>> class Print:
        ...     def log_metrics(self, metrics, step=None):
        ...         print(step, metrics)
        >>> sink = LoggerSink(Print())
        >>> for step in (1, 2):
        ...     sink.reading(Reading(step, 0, {"loss/train": 2.5}))
        1 {'diag/loss/train': 2.5}
    """

    def __init__(self, logger: MetricsLogger | Any, log_every_n_steps: int = 10, max_rows: int = 10_000) -> None:
        if not callable(getattr(logger, "log_metrics", None)):
            raise ConfigurationError(f"logger must have log_metrics(metrics, step), got {type(logger).__name__}")
        self.logger = logger
        self.log_every_n_steps = log_every_n_steps
        self.max_rows = max_rows
        self._limit = RowLimit(log_every_n_steps, max_rows)

    def open(self, run: RunInfo) -> None:
        """Start a new spacing of rows."""
        self._limit._reset()

    def reading(self, reading: Reading) -> None:
        """Log one reading, if its turn has come."""
        if self._limit.admits(reading):
            row = metrics(reading)
            if row:
                self.logger.log_metrics(row, reading.step)

    def finding(self, finding: Finding) -> None:
        """Take no notice: a logger holds numbers."""

    def close(self, diagnosis: Diagnosis) -> None:
        """Do nothing: Lightning finishes its loggers itself."""
