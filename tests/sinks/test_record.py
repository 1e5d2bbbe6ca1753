from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lightning_diag.diagnosis import Coverage, Diagnosis
from lightning_diag.errors import ConfigurationError, RecordError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.record import can_resume, load
from lightning_diag.record.reader import FINDINGS, READINGS, RUN
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.record import RecordSink

SPIKE = Finding("loss/spike", Severity.WARNING, 4, 0, (), "a spike")


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[RecordSink]:
    sink = RecordSink()
    sink.open(RunInfo(tmp_path, "a-run", {"versions": {"torch": "2"}, "limit": np.float32(0.5)}))
    yield sink
    sink._release()


def losses(n: int, start: int = 1) -> list[Reading]:
    facts = Facts(planned_steps=n)
    return [Reading(step, 0, {"loss/train": np.float64(np.float32(1 / step))}, facts) for step in range(start, n + 1)]


def info(path: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((path / RUN).read_text())
    return loaded


def test_run_json_through_a_run(sink: RecordSink, tmp_path: Path) -> None:
    first = info(tmp_path)
    assert (first["schema"], first["name"], first["status"], first["diagnosis"]) == (1, "a-run", "running", None)
    assert first["meta"] == {"limit": 0.5}
    assert {"python", "numpy", "torch"} <= first["versions"].keys()  # type: ignore[attr-defined]
    assert str(first["created"]).endswith("+00:00")
    sink.reading(losses(1)[0])
    assert info(tmp_path)["facts"]["planned_steps"] == 1  # type: ignore[index]
    assert load(tmp_path).coverage is None
    sink.coverage(Coverage(("loss/spike",), {"fit/overfitting": "no validation"}))
    assert load(tmp_path).coverage == {"ran": ["loss/spike"], "skipped": {"fit/overfitting": "no validation"}}
    sink.close(Diagnosis(coverage=Coverage(("loss/spike",))))
    last = info(tmp_path)
    assert last["coverage"] is None and load(tmp_path).coverage == {"ran": ["loss/spike"], "skipped": {}}
    assert (last["status"], last["last_step"], last["created"]) == ("finished", 1, first["created"])
    assert last["diagnosis"]["coverage"]["ran"] == ["loss/spike"]  # type: ignore[index]
    assert sorted(p.name for p in tmp_path.iterdir()) == [FINDINGS, READINGS, RUN]


def test_a_run_that_broke_is_failed_and_the_next_is_not(sink: RecordSink, tmp_path: Path) -> None:
    sink.status = "failed"
    sink.close(Diagnosis())
    assert info(tmp_path)["status"] == "failed"
    sink.open(RunInfo(tmp_path, "a-run"))
    assert info(tmp_path)["status"] == "running"
    sink.close(Diagnosis())
    assert info(tmp_path)["status"] == "finished"


def test_readings_and_facts_as_measured(sink: RecordSink, tmp_path: Path) -> None:
    measured = [*losses(5), *losses(9, start=6)]  # two facts, nine readings
    for reading in measured:
        sink.reading(reading)
    assert list(load(tmp_path).readings()) == measured
    assert (tmp_path / READINGS).read_bytes().count(b'{"facts"') == 2


def test_equal_facts_are_not_written_again(sink: RecordSink, tmp_path: Path) -> None:
    for step in range(1, 5):
        sink.reading(Reading(step, 0, {"loss/train": 1.0}, Facts(planned_steps=9)))
    assert (tmp_path / READINGS).read_bytes().count(b'{"facts"') == 1


def test_everything_is_on_disk_before_the_end(sink: RecordSink, tmp_path: Path) -> None:
    for reading in losses(7):
        sink.reading(reading)
    sink.finding(SPIKE)
    record = load(tmp_path)
    assert len(list(record.readings())) == 7
    assert record.findings == [SPIKE]
    assert record.info["status"] == "running"


KILLED = """
import os, signal, sys
from pathlib import Path
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.record import RecordSink
sink = RecordSink()
sink.open(RunInfo(Path(sys.argv[1]), "killed"))
for step in range(1, 501):
    sink.reading(Reading(step, 0, {"loss/train": 1.0}))
sink.finding(Finding("loss/spike", Severity.WARNING, 4, 0, (), "a spike"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_nothing_and_can_go_on(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    record = load(tmp_path)
    assert len(list(record.readings())) == 500
    assert record.findings == [SPIKE]
    assert can_resume(tmp_path)


def test_a_second_fit_goes_on_in_the_same_record(sink: RecordSink, tmp_path: Path) -> None:
    for reading in losses(3):
        sink.reading(reading)
    sink.close(Diagnosis())
    created = "2020-01-02T03:04:05+00:00"
    (tmp_path / RUN).write_text(json.dumps({**info(tmp_path), "created": created}))
    sink.open(RunInfo(tmp_path, "a-run"))
    for reading in losses(6, start=4):
        sink.reading(reading)
    sink.close(Diagnosis())
    assert [r.step for r in load(tmp_path).readings()] == [1, 2, 3, 4, 5, 6]
    assert info(tmp_path)["created"] == created


def test_two_runs_cannot_write_into_one_record(sink: RecordSink, tmp_path: Path) -> None:
    other = RecordSink()
    with pytest.raises(RecordError, match="another run"):
        other.open(RunInfo(tmp_path, "other"))
    assert info(tmp_path)["name"] == "a-run"


@pytest.mark.parametrize("content", ["no json", '{"schema": 99}', "{}"])
def test_a_directory_with_something_else_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / RUN).write_text(content)
    with pytest.raises(RecordError):
        RecordSink().open(RunInfo(tmp_path, "run"))
    assert (tmp_path / RUN).read_text() == content


def test_without_a_directory_it_does_nothing() -> None:
    sink = RecordSink()
    sink.open(RunInfo(None, "run"))
    sink.reading(losses(1)[0])
    sink.finding(SPIKE)
    sink.close(Diagnosis())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sink_that_is_not_open_says_so(tmp_path: Path, when: str) -> None:
    sink = RecordSink()
    if when == "after":
        sink.open(RunInfo(tmp_path, "run"))
        sink.close(Diagnosis())
    with pytest.raises(RecordError, match="not open"):
        sink.reading(losses(1)[0])
    sink.close(Diagnosis())


# ---------------------------------------------------------------------- disks that fail


def _full(*args: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_raises_and_the_rest_stays_readable(
    sink: RecordSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.reading(losses(1)[0])
    before = (tmp_path / RUN).read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr("os.write", _full)
        patch.setattr(Path, "write_bytes", _full)
        calls: list[Callable[[], None]] = [lambda: sink.reading(losses(2)[1]), lambda: sink.finding(SPIKE)]
        calls.append(lambda: sink.close(Diagnosis()))
        for call in calls:
            with pytest.raises(RecordError, match="No space left") as caught:
                call()
            assert isinstance(caught.value.__cause__, OSError)
    assert (tmp_path / RUN).read_bytes() == before
    assert len(list(load(tmp_path).readings())) == 1


def test_room_at_the_end_still_takes_the_diagnosis(
    sink: RecordSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.reading(losses(1)[0])
    with monkeypatch.context() as patch:
        patch.setattr("os.write", _full)
        with pytest.raises(RecordError):
            sink.reading(losses(2)[1])
    sink.close(Diagnosis())
    assert info(tmp_path)["status"] == "finished"


def _until_full(path: Path) -> tuple[int, RecordSink]:
    """Write until the disk is full; return how many readings were taken."""
    sink = RecordSink()
    sink.open(RunInfo(path, "run"))
    for taken, reading in enumerate(losses(100_000)):
        try:
            sink.reading(reading)
        except RecordError:
            return taken, sink
    raise AssertionError("the disk never got full")


def test_a_file_size_limit_of_the_system(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_001, hard))
    try:
        taken, sink = _until_full(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert taken > 100
    assert (tmp_path / READINGS).read_bytes().endswith(b"}\n")
    assert len(list(load(tmp_path).readings())) == taken
    sink._release()


def test_a_really_full_file_system(tmp_path: Path) -> None:
    mount = shutil.which("mount") or "false"
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("may not mount a small file system here")
    try:
        taken, sink = _until_full(tmp_path)
        record = load(tmp_path)
        assert taken > 100
        assert len(list(record.readings())) == taken
        assert record.info["status"] == "running"
        with pytest.raises(RecordError):
            sink.finding(_long_finding())
        sink._release()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def _long_finding() -> Finding:
    return Finding("loss/spike", Severity.WARNING, 1, 0, ("layer" * 100_000,), "too long for what is left")


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="can't be made"):
        RecordSink().open(RunInfo(tmp_path / "file" / "run", "run"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(RecordError, match="can't be written"):
        RecordSink().open(RunInfo(tmp_path, "run"))


def test_a_directory_removed_during_the_run(sink: RecordSink, tmp_path: Path) -> None:
    sink.reading(losses(1)[0])
    shutil.rmtree(tmp_path)
    with pytest.raises(RecordError, match="removed"):
        sink.reading(losses(2)[1])
    with pytest.raises(RecordError):
        sink.close(Diagnosis())
    assert not tmp_path.exists()


# ---------------------------------------------------------------------- size and speed


def test_the_size_stays_bounded_and_findings_survive(tmp_path: Path) -> None:
    limit = 100_000
    sink = RecordSink(max_bytes=limit)
    sink.open(RunInfo(tmp_path, "run"))
    largest = 0
    for reading in losses(8000):
        sink.reading(reading)
        if reading.step == 1000:
            sink.finding(Finding("loss/spike", Severity.WARNING, 1000, 0, (), "x"))
        largest = max(largest, (tmp_path / READINGS).stat().st_size)
    sink.close(Diagnosis())
    record = load(tmp_path)
    steps = [r.step for r in record.readings()]
    assert largest <= limit + 100
    assert record.thinned
    assert record.damaged == 0
    assert [f.step for f in record.findings] == [1000]
    assert steps == sorted(set(steps))
    assert set(range(900, 1101)) <= set(steps)
    assert steps[-100:] == list(range(7901, 8001))


def test_a_record_below_the_limit_is_not_thinned(sink: RecordSink, tmp_path: Path) -> None:
    for reading in losses(100):
        sink.reading(reading)
    assert not load(tmp_path).thinned


def test_max_bytes_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="max_bytes"):
        RecordSink(max_bytes=1000)


def _fastest(sink: RecordSink, readings: list[Reading]) -> float:
    """Shortest CPU time of one call, in seconds: noise of a busy machine only adds."""
    best = float("inf")
    for reading in readings:
        start = time.thread_time()
        sink.reading(reading)
        best = min(best, time.thread_time() - start)
    return best


def test_a_reading_costs_little(sink: RecordSink) -> None:
    facts, noise = Facts(), np.random.default_rng(0)
    scalars = [Reading(s, 0, {"loss/train": 1 / s, "loss/level": 1.0, "loss/z": 0.5}, facts) for s in range(1, 300)]
    vectors = [
        Reading(s, 0, {n: noise.normal(size=1000) for n in ("grad/parameter_norm", "lr", "mine/own")}, facts)
        for s in range(1, 30)
    ]
    assert _fastest(sink, scalars) < 15e-6
    assert _fastest(sink, vectors) < 2e-3
