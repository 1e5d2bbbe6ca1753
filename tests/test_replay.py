from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from lightning_diag import detectors as room
from lightning_diag._judge.judge import Judge
from lightning_diag._plugins import shipped
from lightning_diag._replay import check
from lightning_diag.detectors.base import Detector
from lightning_diag.detectors.loss_non_finite import LossNonFinite
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError, RecordError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.record import load
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.record import RecordSink


def falling(steps: int = 300, seed: int = 0) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(2.3 * math.exp(-i / 150) * math.exp(rng.normal(0, 0.03))) for i in range(steps)]


def readings(losses: Sequence[float]) -> list[Reading]:
    facts = Facts(planned_steps=len(losses), chance_loss=2.3)
    made = [Reading(i, 0, {"loss/train": np.float64(np.float32(x))}, facts) for i, x in enumerate(losses, start=1)]
    return [*made, Reading(len(losses), 0, {"run/ended": np.float64(1.0)}, facts, stage="end")]


def write(run_dir: Path, stream: Sequence[Reading], sink: RecordSink | None = None) -> Diagnosis:
    """Record a run as the pipeline would; return the diagnosis it was told."""
    sink = sink or RecordSink()
    judge = Judge([cls() for cls in shipped()])
    sink.open(RunInfo(run_dir, "run"))
    for reading in stream:
        enriched = judge.enrich(reading)
        changes = judge.update(enriched)
        sink.reading(enriched)
        for change in changes:
            sink.finding(change)
    sink.close(judge.diagnosis)
    return judge.diagnosis


BROKEN = [*falling(200), *[math.nan] * 50]


class Raises(Detector):
    rule = "loss/plateau"
    code = "T001"
    reads = ("loss/train",)
    severity = Severity.INFO
    title = "raises"

    def _reset(self) -> None:
        self.seen = 0

    def update(self, reading: Reading) -> Finding | None:
        raise ArithmeticError("oh")


@pytest.mark.parametrize("losses", [falling(), BROKEN], ids=["healthy", "broken"])
def test_a_record_judged_again_gives_the_diagnosis_of_the_run(losses: list[float], tmp_path: Path) -> None:
    told = write(tmp_path, readings(losses))
    assert told.coverage.ran
    for again in (check(tmp_path), check(str(tmp_path)), check(load(tmp_path)), check(readings(losses))):
        assert again == told


def test_a_broken_run_is_found_and_a_healthy_one_left_in_peace(tmp_path: Path) -> None:
    diagnosis = check(readings(BROKEN))
    assert diagnosis.causes[0].name == "non-finite"
    assert diagnosis.causes[0].first_step == 201
    assert check(readings(falling())).healthy


def test_any_iterable_of_readings_is_read_once() -> None:
    def stream() -> Iterator[Reading]:
        yield from readings(BROKEN)

    assert check(stream()) == check(readings(BROKEN))


def test_select_ignore_and_own_detectors() -> None:
    stream = readings(BROKEN)
    assert "loss/non-finite" not in {f.rule for f in check(stream, ignore=["loss/non-finite"]).findings}
    assert set(check(stream, select="loss/non-finite").coverage.ran) == {"loss/non-finite"}
    own = check(stream, detectors=[LossNonFinite()])
    assert [f.rule for f in own.findings] == ["loss/non-finite"]
    assert own.coverage.skipped == {}


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="select='losses' matches no rule"):
        check([], select=["losses"])


def test_a_failing_detector_is_named_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="lightning_diag"):
        diagnosis = check(readings(BROKEN), detectors=[Raises(), LossNonFinite()])
    assert [f.rule for f in diagnosis.findings] == ["loss/non-finite"]
    assert diagnosis.coverage.skipped == {"loss/plateau": "the detector failed: ArithmeticError: oh"}
    assert caplog.messages == ["loss/plateau failed on this record and is left out: ArithmeticError: oh"]


def test_nothing_measured_is_not_checked(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert check(tmp_path).verdict.startswith("Not checked")


def test_no_record_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="does not exist"):
        check(tmp_path / "none")


def test_shipped_are_all_rules_of_the_room_once_by_name() -> None:
    rules = [cls.rule for cls in shipped()]
    assert rules == sorted(set(rules))
    assert len(rules) == len([name for name in room.__all__ if name != "Detector"])
    assert len({cls.code for cls in shipped()}) == len(rules)


def test_a_finished_run_is_judged_by_the_rules_that_a_running_one_is() -> None:
    from lightning_diag import Diagnostics

    assert sorted(d.rule for d in Diagnostics(sanity="full").parts().detectors) == [cls.rule for cls in shipped()]
