from __future__ import annotations

import pytest

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.memory import MemorySink


def test_it_keeps_the_last_readings_and_events_and_the_diagnosis() -> None:
    sink = MemorySink(maxlen=3)
    info = RunInfo(None, "run")
    sink.open(info)
    for step in range(1, 6):
        sink.reading(Reading(step, 0, {}))
        sink.finding(Finding("loss/spike", Severity.INFO, step, 0, (), ""))
    assert sink.closed is None
    diagnosis = Diagnosis()
    sink.close(diagnosis)
    assert sink.run is info
    assert [r.step for r in sink.readings] == [f.step for f in sink.findings] == [3, 4, 5]
    assert sink.closed is diagnosis


def test_opening_again_starts_afresh() -> None:
    sink = MemorySink()
    sink.reading(Reading(1, 0, {}))
    sink.close(Diagnosis())
    sink.open(RunInfo(None, "second"))
    assert (sink.readings, sink.findings, sink.closed) == ([], [], None)


def test_maxlen_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="maxlen"):
        MemorySink(0)
