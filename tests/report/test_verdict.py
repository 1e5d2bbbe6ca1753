"""The head of the page: what it says in each state a run can be in."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.record import load
from lightning_diag.report.cards import cards
from lightning_diag.report.gather import Gathered
from lightning_diag.report.verdict import Verdict, diagnosis_of, verdict
from tests.report import runs
from tests.report.records import RAN, SKIPPED

LR = Finding("updates/too-large", Severity.CRITICAL, 20, 0, ("net.0.weight",), "big")
LOOSE = Finding("x/unknown", Severity.WARNING, 5, 0, ("here",), "something is odd", advice=("look",))
SOME = Coverage(("a/b", "a/c"), {"a/d": "no data"})


def head(diagnosis: Diagnosis, status: str = "finished", readings: int = 9) -> Verdict:
    got = Gathered(readings=readings, last_step=1234)
    return verdict(diagnosis, cards(diagnosis, got), got, status)


def test_a_cause_leads_and_the_rest_is_named() -> None:
    made = head(diagnose([LR, LOOSE], SOME))
    assert (made.kind, made.headline, made.place) == ("critical", "The learning rate is too high", "net.0.weight")
    assert made.since == "step 20"
    assert made.experiment.startswith("Repeat the first 200 steps")
    assert made.also == (("finding-2", "x/unknown"),)
    assert made.checks == "2 checks ran, 1 could not be judged"
    assert made.whole.startswith("CRITICAL: the learning rate is too high at net.0.weight")


def test_a_warning_without_a_cause_speaks_for_itself() -> None:
    made = head(diagnose([LOOSE], SOME))
    assert (made.kind, made.headline, made.experiment) == ("warning", "Something is odd", "Look.")


@pytest.mark.parametrize(
    ("coverage", "status", "readings", "kind", "checks"),
    [
        (SOME, "finished", 9, "healthy", "2 checks ran, 1 could not be judged"),
        (SOME, "running", 9, "quiet", "2 checks ran so far, 1 could not be judged"),
        (SOME, "killed", 9, "quiet", "2 checks ran, 1 could not be judged"),
        (Coverage(), "finished", 9, "unchecked", "No check had the data it needs"),
        (Coverage(skipped={"a/b": "no data"}), "finished", 9, "unchecked", "no check ran, 1 could not be judged"),
        (Coverage(), "running", 9, "quiet", "No check ran so far"),
        (Coverage(), "running", 0, "unchecked", "No check ran so far"),
    ],
)
def test_without_findings_nothing_is_claimed_that_was_not_checked(
    coverage: Coverage, status: str, readings: int, kind: str, checks: str
) -> None:
    made = head(diagnose([], coverage), status, readings)
    assert (made.kind, made.checks) == (kind, checks)
    assert ("wrong" in made.headline) == (kind == "healthy")
    if kind == "quiet":
        assert made.headline == "No finding up to step 1,234"
        assert made.word == status


def test_a_records_findings_are_joined_again_with_the_coverage_of_its_end(tmp_path: Path) -> None:
    record = load(runs.broken(tmp_path / "broken"))
    made = diagnosis_of(record)
    assert record.diagnosis is not None
    assert made.verdict == record.diagnosis["verdict"]
    assert len(made.coverage.ran) == 13


def test_while_a_run_goes_on_its_findings_are_there_already(tmp_path: Path) -> None:
    made = diagnosis_of(load(runs.running(tmp_path / "running")))
    assert [c.name for c in made.causes] == ["unstable"]
    assert made.coverage == Coverage(RAN, SKIPPED)


@pytest.mark.parametrize("coverage", [None, 3, [], {"ran": 3, "skipped": []}, {"ran": [1], "skipped": {"a": 2}}])
def test_a_damaged_diagnosis_harms_nobody(tmp_path: Path, coverage: object) -> None:
    record = load(runs.healthy(tmp_path / "healthy"))
    record.info["diagnosis"]["coverage"] = coverage
    assert all(isinstance(rule, str) for rule in diagnosis_of(record).coverage.ran)
