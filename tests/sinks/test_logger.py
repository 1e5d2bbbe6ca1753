from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.signals import logged_keys
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.logger import LoggerSink


class Recorder:
    def __init__(self) -> None:
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))


def run(sink: LoggerSink, steps: int = 40) -> None:
    sink.open(RunInfo(None, "run"))
    for step in range(1, steps + 1):
        values: dict[str, Any] = {"loss/train": np.float64(1.0 / step)}
        if step % 8 == 0:
            values |= {"grad/norm": np.float64(step), "lr": np.array([0.1, 0.2])}
        sink.reading(Reading(step, 0, values))


def test_rows_keys_and_values() -> None:
    logger = Recorder()
    run(LoggerSink(logger))
    assert [step for step, _ in logger.rows] == [1, 8, 16, 24, 32, 40]
    for step, row in logger.rows:
        assert row.keys() <= logged_keys().keys()
        assert row["diag/loss/train"] == 1.0 / (step or 0)
        assert all(type(value) is float for value in row.values())
    assert logger.rows[1][1] == {"diag/loss/train": 0.125, "diag/grad/norm": 8.0, "diag/lr/max": 0.2}


def test_a_reading_without_logged_signals_calls_nobody() -> None:
    logger = Recorder()
    LoggerSink(logger).reading(Reading(1, 0, {"run/ended": np.float64(1)}, stage="end"))
    assert logger.rows == []


def test_findings_do_not_go_to_a_logger_of_numbers() -> None:
    logger = Recorder()
    LoggerSink(logger).finding(Finding("loss/spike", Severity.CRITICAL, 1, 0, (), "x"))
    assert logger.rows == []


def test_something_without_log_metrics_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="log_metrics"):
        LoggerSink(object())


def test_with_lightnings_csv_logger_whose_keys_change(tmp_path: Path) -> None:
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    logger = loggers.CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    logger.log_metrics({"user/loss": 3.0}, 0)
    run(LoggerSink(logger))
    logger.finalize("success")
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "8", "16", "24", "32", "40"]
    assert rows[0]["user/loss"] == "3.0"
    assert rows[2]["diag/grad/norm"] == "8.0"
    assert rows[1]["diag/grad/norm"] == ""
