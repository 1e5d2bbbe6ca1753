"""What every shipped sink keeps to; a new one is found through ``__all__`` before its author writes a test."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_diag import sinks
from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks import Sink
from lightning_diag.sinks.base import RunInfo

SHIPPED = [name for name in sinks.__all__ if name != "Sink"]


class Nobody:
    """A logger and a W&B run that forget everything."""

    disabled = False

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...
    def log(self, row: dict[str, Any]) -> None: ...
    def alert(self, **alert: Any) -> None: ...
    def define_metric(self, name: str, **how: Any) -> None: ...


MAKE: dict[str, Callable[[], Sink]] = {
    "ConsoleSink": lambda: sinks.ConsoleSink(verbose=True),
    "FlightSink": sinks.FlightSink,
    "LoggerSink": lambda: sinks.LoggerSink(Nobody()),
    "MemorySink": lambda: sinks.MemorySink(maxlen=50),
    "RecordSink": sinks.RecordSink,
    "SuspectSink": sinks.SuspectSink,
    "WandbSink": lambda: sinks.WandbSink(Nobody()),
}


@pytest.fixture(params=SHIPPED)
def make(request: pytest.FixtureRequest) -> Callable[[], Sink]:
    return MAKE[request.param]


def info(path: Path) -> RunInfo:
    return RunInfo(path, "run", {"versions": {"torch": "2"}})


def odd_readings() -> list[Reading]:
    facts = Facts(names={"group": ("0",)})
    everything: list[dict[str, Any]] = [
        {},
        {"loss/train": np.float64(2.0), "loss/level": np.float64(2.0)},
        {"loss/train": np.float64(np.nan), "grad/norm": np.float64(np.inf), "lr": np.array([np.nan, -np.inf])},
        {"lr": np.array([]), "mine/own": np.ones((2, 3)), "grad/parameter_norm": np.arange(3.0)},
        {"loss/train": 1.0, "val/samples": 3},
    ]
    stages = ["train", "train", "train", "train", "validation"]
    readings = [Reading(i + 1, 0, v, facts, i, s) for i, (v, s) in enumerate(zip(everything, stages, strict=True))]
    return [*readings, Reading(6, 1, {"run/ended": np.float64(1.0)}, stage="end")]


def life_of(rule: str = "loss/spike") -> list[Finding]:
    first = Finding(
        rule, Severity.INFO, 3, 0, ("[b]net\x1b[31m\n", "\ud800"), "é {value} <b>", {"value": "nan"}, ("do",)
    )
    data = first.to_dict()
    return [
        first,
        Finding.from_dict({**data, "severity": "warning", "status": "worsening"}),
        Finding.from_dict({**data, "severity": "critical", "status": "worsening", "step": 5}),
        Finding.from_dict({**data, "severity": "critical", "status": "resolved"}),
    ]


def live(sink: Sink, path: Path) -> Diagnosis:
    """One whole run."""
    sink.open(info(path))
    for reading in odd_readings():
        sink.reading(reading)
    for finding in life_of():
        sink.finding(finding)
    diagnosis = diagnose(life_of()[2:3], Coverage(("loss/spike",), {"fit/overfitting": "no\x1b[1m data"}))
    sink.close(diagnosis)
    return diagnosis


def test_every_sink_is_listed_sorted_and_tested() -> None:
    assert sinks.__all__ == sorted(sinks.__all__)
    assert set(MAKE) == set(SHIPPED)
    public = {cls.__name__ for cls in Sink.__subclasses__() if cls.__module__.startswith("lightning_diag.sinks.")}
    assert public == set(SHIPPED)


def test_a_run_and_a_second_one(make: Callable[[], Sink], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = make()
    live(sink, tmp_path)
    live(sink, tmp_path)
    assert capsys.readouterr().out == "", "standard output belongs to the user's program"


def test_closing_again_or_before_opening_is_quiet(make: Callable[[], Sink], tmp_path: Path) -> None:
    sink = make()
    sink.close(Diagnosis())
    sink.close(live(sink, tmp_path))


def test_without_a_run_directory(make: Callable[[], Sink]) -> None:
    sink = make()
    sink.open(RunInfo(None, "run"))
    sink.reading(odd_readings()[1])
    sink.finding(life_of()[1])
    sink.close(Diagnosis())


def test_what_it_is_given_stays_as_it_was(make: Callable[[], Sink], tmp_path: Path) -> None:
    sink, readings = make(), odd_readings()
    before = pickle.dumps([dict(reading.values) for reading in readings])
    for reading in readings:
        for value in reading.values.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
    sink.open(info(tmp_path))
    for reading in readings:
        sink.reading(reading)
    sink.close(Diagnosis())
    assert pickle.dumps([dict(reading.values) for reading in readings]) == before


@pytest.mark.parametrize("how", [copy.deepcopy, lambda sink: pickle.loads(pickle.dumps(sink))])
def test_a_copy_lives_by_itself(make: Callable[[], Sink], tmp_path: Path, how: Callable[[Sink], Sink]) -> None:
    """People copy and pickle callbacks in the middle of a run; the copy must not touch the original's record."""
    original = make()
    original.open(info(tmp_path / "a"))
    original.reading(odd_readings()[1])
    twin = how(original)
    assert type(twin) is type(original)
    before = {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    twin.close(Diagnosis())
    assert {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    live(twin, tmp_path / "b")
    original.reading(odd_readings()[2])
    original.close(Diagnosis())


def test_memory_stays_bounded(make: Callable[[], Sink], tmp_path: Path) -> None:
    sink = make()
    sink.open(info(tmp_path))

    facts = Facts()  # one for all, as in a run

    def feed(steps: range) -> None:
        for step in steps:
            sink.reading(Reading(step, 0, {"loss/train": 1.0, "grad/norm": 1.0, "lr": np.ones(20)}, facts))
            sink.finding(life_of()[step % 4])

    feed(range(1, 300))
    tracemalloc.start()
    feed(range(300, 600))
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sink.close(Diagnosis())
    assert grown < 120_000, f"{grown} bytes for 300 readings"


def test_no_random_stream_is_touched(make: Callable[[], Sink], tmp_path: Path) -> None:
    before = random.getstate(), str(np.random.get_state())  # noqa: NPY002 - the stream of the user's run
    live(make(), tmp_path)
    assert before == (random.getstate(), str(np.random.get_state()))  # noqa: NPY002


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_documented(name: str) -> None:
    cls = getattr(sinks, name)
    assert ">>> " in (cls.__doc__ or "")
    arguments = list(inspect.signature(cls).parameters)
    assert "Args:" in cls.__doc__ or not arguments
    for argument in arguments:
        assert f"    {argument}: " in cls.__doc__
    for method in ("reading", "finding"):
        assert vars(cls)[method].__doc__


@pytest.mark.parametrize("method", ["reading", "finding"])
def test_the_base_is_enforced(method: str) -> None:
    half = type("Half", (sinks.MemorySink,), {})
    whole: Any = type("Whole", (Sink,), {"reading": lambda s, r: None, "finding": lambda s, f: None})
    missing: Any = type("Missing", (Sink,), {m: lambda s, x: None for m in ("reading", "finding") if m != method})
    half()
    whole().close(Diagnosis())
    with pytest.raises(TypeError, match="abstract"):
        missing()


def test_importing_the_sinks_imports_neither_torch_nor_lightning_nor_wandb() -> None:
    code = "import sys, lightning_diag.sinks; print([m for m in ('torch', 'lightning', 'wandb') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
