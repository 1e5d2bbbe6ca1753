"""Faults planted in every registered probe, detector and sink, at each verb: the run goes on as without us."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_diag import Diagnostics, MemorySink
from lightning_diag.detectors.base import Detector
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.diagnostics import DEFAULT
from lightning_diag.monitors.outlets import ReportSink
from lightning_diag.probes.base import Probe
from lightning_diag.sinks.base import Sink
from lightning_diag.sinks.console import ConsoleSink
from lightning_diag.sinks.flight import FlightSink
from lightning_diag.sinks.logger import LoggerSink
from lightning_diag.sinks.record import RecordSink
from tests.setups.harness import Left, Setup, differences, train
from tests.setups.modules import Plain

SETUP = Setup(Plain, lambda: {"val_check_interval": 3}, steps=6)
PARTS = Diagnostics().parts()
MONITORS = {make().__class__.__name__ for make in DEFAULT}


def verbs(kind: type, base: type) -> Iterator[str]:
    """The verbs of a base that a class writes itself."""
    for name, value in vars(base).items():
        own = getattr(kind, name)
        if callable(value) and (not name.startswith("_")) and own is not value:
            yield name


PROBES = sorted({type(p) for _, p in PARTS.probes}, key=lambda kind: kind.__name__)
PROBE_FAULTS = [(kind, verb) for kind in PROBES for verb in verbs(kind, Probe)]
SINK_FAULTS = [
    (kind, verb)
    for kind in (MemorySink, RecordSink, FlightSink, ReportSink, ConsoleSink, LoggerSink)
    for verb in verbs(kind, Sink)
]


class Other(MemorySink):
    """Of another class than the one that fails."""

    open, reading, finding, close = MemorySink.open, MemorySink.reading, MemorySink.finding, MemorySink.close


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("planted")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return train(SETUP, [], tmp_path_factory.mktemp("bare"))


def trained(bare: Left, root: Path, caplog: pytest.LogCaptureFixture, **options: Any) -> tuple[Diagnostics, list[str]]:
    """Train with us, see that nothing of the run differs; return us and what we warned of."""
    caplog.set_level(logging.WARNING, logger="lightning_diag")
    diag = Diagnostics(every_n_steps=1, **options)
    left = train(SETUP, [diag], root)
    assert differences(vars(bare), vars(left)) == []
    return diag, [r.getMessage() for r in caplog.records if "planted" in r.getMessage()]


@pytest.mark.parametrize(("kind", "verb"), PROBE_FAULTS)
def test_a_probe(
    kind: type[Probe],
    verb: str,
    bare: Left,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[str] = []

    def fail(*_: Any) -> None:
        called.append(verb)
        raise RuntimeError("planted")

    monkeypatch.setattr(kind, verb, fail)
    sink = MemorySink()
    diag, told = trained(bare, tmp_path, caplog, sinks=[sink])
    assert len(told) == bool(called), told
    assert all(message.partition(" ")[0] in MONITORS for message in told)
    assert len([r for r in sink.readings if r.stage == "train"]) == 6
    assert sink.closed is not None and diag.diagnosis.coverage.skipped


def test_most_verbs_of_probes_are_called_in_this_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise the faults above prove nothing."""
    called: set[tuple[type[Probe], str]] = set()

    def counted(kind: type[Probe], verb: str) -> Any:
        real = getattr(kind, verb)

        def call(self: Probe, *args: Any) -> Any:
            called.add((kind, verb))
            return real(self, *args)

        return call

    for kind, verb in PROBE_FAULTS:
        monkeypatch.setattr(kind, verb, counted(kind, verb))
    train(SETUP, [Diagnostics(every_n_steps=1, sinks=[])], tmp_path)
    assert len(called) > 0.7 * len(PROBE_FAULTS), set(PROBE_FAULTS) - called


def test_every_detector(
    bare: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them fail at their first reading: each is named once, and the run ends as it should."""
    woken: set[str] = set()
    for detector in PARTS.detectors:

        def fail(self: Detector, reading: Any) -> None:
            woken.add(self.rule)
            raise RuntimeError("planted")

        monkeypatch.setattr(type(detector), "update", fail)
    diag, told = trained(bare, tmp_path, caplog, sinks=[])
    assert len(woken) > 20 and len(told) == len(woken)
    assert all(any(rule in message for message in told) for rule in woken)
    assert all("planted" in diag.diagnosis.coverage.skipped[rule] for rule in woken)


@pytest.mark.parametrize("detector", PARTS.detectors[::9], ids=lambda d: d.rule)
def test_one_detector_of_many(
    detector: Detector,
    bare: Left,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(type(detector), "update", broken)
    diag, told = trained(bare, tmp_path, caplog, sinks=[])
    others = {"loss/non-finite", "activations/non-finite"} - {detector.rule}
    assert len(told) <= 1 and others <= set(diag.diagnosis.coverage.ran)


@pytest.mark.parametrize(("kind", "verb"), SINK_FAULTS)
def test_a_sink(
    kind: type[Sink],
    verb: str,
    bare: Left,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = Other()
    monkeypatch.setattr(kind, verb, broken)
    made = LoggerSink(CSVLogger(tmp_path / "csv")) if kind is LoggerSink else kind()
    diag, told = trained(bare, tmp_path, caplog, sinks=[made, other])
    assert len(told) <= 1
    assert [r.step for r in other.readings if r.stage == "train"] == list(range(1, 7))
    assert diag.diagnosis.coverage.ran


@pytest.mark.parametrize("verb", ["parts", "options"])
def test_a_monitor_that_cannot_even_say_what_it_needs(
    verb: str, bare: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Monitor):
        pass

    monkeypatch.setattr(Broken, verb, broken)
    caplog.set_level(logging.WARNING, logger="lightning_diag")
    assert differences(vars(bare), vars(train(SETUP, [Broken()], tmp_path))) == []
    assert len([r for r in caplog.records if "planted" in r.getMessage()]) == 1


@pytest.mark.parametrize(
    "place",
    [
        "lightning_diag.monitors.steps.Steps.batch_start",
        "lightning_diag.monitors.steps.Steps.loss",
        "lightning_diag.monitors.session.Session.before_update",
        "lightning_diag.monitors.steps.Steps.batch_end",
        "lightning_diag.monitors.session.Session.train_start",
        "lightning_diag.monitors.session.Session.finish",
        "lightning_diag.monitors.session.Session.state_dict",
        "lightning_diag.monitors.trainer_view.scene",
        "lightning_diag.monitors.trainer_view.plan",
        "lightning_diag.monitors.trainer_view.metrics",
        "lightning_diag._pipeline.step.Pipeline.finish",
        "lightning_diag._pipeline.step.Pipeline.validation_end",
        "lightning_diag._judge.judge.Judge.state_dict",
    ],
)
@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_the_house_itself(
    place: str,
    error: type[Exception],
    bare: Left,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def raising(*_: Any, **__: Any) -> Any:
        raise error("planted")

    monkeypatch.setattr(place, raising)
    _, told = trained(bare, tmp_path, caplog, sinks=[])
    assert len(told) == 1, told
