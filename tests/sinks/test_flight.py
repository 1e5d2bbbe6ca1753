from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from lightning_diag.cli import main
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError, RecordError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.record import flights
from lightning_diag.record.flight import FLIGHT
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.flight import FlightSink
from lightning_diag.sinks.record import RecordSink


def reading(step: int) -> Reading:
    values = {
        "loss/train": np.float64(step),
        "loss/z": np.float64("nan"),
        "grad/parameter_norm": np.array([1.0, np.inf]),
    }
    return Reading(step, 2, values, batch_idx=step % 7)


def finding(step: int, severity: Severity = Severity.WARNING, status: str = "open") -> Finding:
    return Finding("loss/spike", severity, step, 2, ("net.0",), "a spike", {"value": float("inf")}, status=status)


def recorded(
    tmp_path: Path, events: dict[int, Finding], steps: int = 200, before: int = 10, after: int = 5
) -> FlightSink:
    sink = FlightSink(before, after)
    sink.open(RunInfo(tmp_path, "run", samples=lambda step: (f"a{step}", "\x1b[31m<b>")))
    for step in range(1, steps + 1):
        sink.block([reading(step)])
        if step in events:
            sink.finding(events[step])
    return sink


def test_the_steps_around_the_first_warning_in_full(tmp_path: Path) -> None:
    recorded(tmp_path, {50: finding(50), 100: finding(100)}).close(Diagnosis())
    (flight,) = flights(tmp_path)
    assert flight.event == finding(50)
    assert [r.step for r in flight.readings] == list(range(41, 56))
    first = flight.readings[0]
    assert (first.epoch, first.batch_idx, first.stage) == (2, 41 % 7, "train")
    assert first.values["loss/train"] == 41 and np.isnan(first.values["loss/z"])
    assert first.vector("grad/parameter_norm").tolist() == [1.0, float("inf")]  # type: ignore[union-attr]
    assert flight.samples[41] == ("a41", "\x1b[31m<b>")
    assert b"\x1b" not in (tmp_path / FLIGHT).read_bytes()


def test_a_critical_one_after_it_gets_its_own(tmp_path: Path) -> None:
    recorded(tmp_path, {50: finding(50), 52: finding(52, Severity.CRITICAL), 90: finding(90, Severity.CRITICAL)})
    assert [(f.event.step, len(f.readings)) for f in flights(tmp_path)] == [(50, 15), (90, 15)]


@pytest.mark.parametrize("event", [finding(50, Severity.INFO), finding(50, status="resolved")])
def test_nothing_bad_leaves_no_file(tmp_path: Path, event: Finding) -> None:
    recorded(tmp_path, {50: event}).close(Diagnosis())
    assert flights(tmp_path) == () and not (tmp_path / FLIGHT).exists()


def test_a_killed_run_keeps_what_it_had_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    recorded(tmp_path, {50: finding(50)}, steps=52)  # never closed
    assert [r.step for r in flights(tmp_path)[0].readings] == list(range(41, 53))
    data = (tmp_path / FLIGHT).read_bytes()
    (tmp_path / FLIGHT).write_bytes(data[:-20])
    assert [r.step for r in flights(tmp_path)[0].readings] == list(range(41, 52))
    (tmp_path / FLIGHT).write_bytes(b'{"s":1}\n[]\n\xff\n{"event":{"rule":3}}\n' + data)
    assert len(flights(tmp_path)) == 1


def test_without_a_folder_it_does_nothing_and_with_a_lost_one_it_says_so(tmp_path: Path) -> None:
    sink = FlightSink()
    sink.open(RunInfo(None, "run"))
    sink.reading(reading(1))
    sink.finding(finding(1))
    (tmp_path / "file").touch()
    sink.open(RunInfo(tmp_path / "file" / "gone", "run"))
    with pytest.raises(RecordError):
        sink.finding(finding(1))


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = RecordSink()
    record.open(RunInfo(tmp_path, "run"))
    record.close(Diagnosis())
    assert main(["flight", str(tmp_path)]) == 0 and "Nothing to show" in capsys.readouterr().out
    recorded(tmp_path, {50: finding(50)}).close(Diagnosis())
    assert main(["flight", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "warning loss/spike at step 50: a spike" in out and "\x1b" not in out
    assert next(line for line in out.splitlines() if line.startswith(">")).split()[1:5] == ["50", "1", "50", "nan"]
    assert main(["flight", "--json", str(tmp_path)]) == 0
    steps = json.loads(capsys.readouterr().out)["flights"][0]["steps"]
    assert [s["step"] for s in steps] == list(range(41, 56)) and steps[0]["samples"][0] == "a41"
    assert main(["flight", str(tmp_path / "none")]) == 2


def test_copies_start_empty_and_arguments_are_checked(tmp_path: Path) -> None:
    sink = recorded(tmp_path, {})
    for other in (copy.deepcopy(sink), pickle.loads(pickle.dumps(sink))):
        assert (other.before, other.after, len(other._recent)) == (10, 5, 0)
    with pytest.raises(ConfigurationError, match="before"):
        FlightSink(before=0)


def resumed(tmp_path: Path, step: int, events: dict[int, Finding], steps: int = 200) -> None:
    sink = FlightSink(10, 5)
    sink.open(RunInfo(tmp_path, "run", resumed_step=step))
    for now in range(step + 1, steps + 1):
        sink.block([reading(now)])
        if now in events:
            sink.finding(events[now])
    sink.close(Diagnosis())


@pytest.mark.parametrize("stopped", [52, 53, 55])
def test_a_recording_that_was_interrupted_is_gone_on_with(tmp_path: Path, stopped: int) -> None:
    """Checkpoint at 52, the run broke off there or some steps later: nothing is missing and no step is there twice."""
    recorded(tmp_path, {50: finding(50)}, steps=stopped)
    resumed(tmp_path, 52, {100: finding(100)})  # one long run would not have recorded the second warning either
    (flight,) = flights(tmp_path)
    assert [r.step for r in flight.readings] == list(range(41, 56)) and flight.until == 55


def test_a_recording_that_began_after_the_checkpoint_stays(tmp_path: Path) -> None:
    recorded(tmp_path, {50: finding(50)}, steps=53)
    resumed(tmp_path, 45, {50: finding(50)})
    first, second = flights(tmp_path)
    assert [r.step for r in first.readings] == list(range(41, 54))
    assert [r.step for r in second.readings] == list(range(46, 56))


def test_a_critical_finding_after_a_resume_gets_its_own(tmp_path: Path) -> None:
    recorded(tmp_path, {50: finding(50)})
    resumed(tmp_path, 150, {160: finding(160, Severity.CRITICAL)})
    assert [f.event.step for f in flights(tmp_path)] == [50, 160]
