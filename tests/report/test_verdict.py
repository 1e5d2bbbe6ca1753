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

LR = Finding("updates/too-large", Severity.CRITICAL, 20, 0, ("net.0.weight",), "big")
LOOSE = Finding("x/unknown", Severity.WARNING, 5, 0, ("here",), "something is odd", advice=("look",))
RAN = Coverage(("a/b", "a/c"), {"a/d": "no data"})


def head(diagnosis: Diagnosis, running: bool = False, readings: int = 9) -> Verdict:
    got = Gathered(readings=readings, last_step=1234)
    return verdict(diagnosis, cards(diagnosis, got), got, running)


def test_a_cause_leads_and_the_rest_is_named() -> None:
    made = head(diagnose([LR, LOOSE], RAN))
    assert (made.kind, made.headline, made.place) == ("critical", "The learning rate is too high", "net.0.weight")
    assert made.since == "step 20"
    assert made.experiment.startswith("Repeat the first 200 steps")
    assert made.also == (("finding-2", "x/unknown"),)
    assert made.checks == "2 checks ran, 1 could not be judged"
    assert made.whole.startswith("CRITICAL: the learning rate is too high at net.0.weight")


def test_a_warning_without_a_cause_speaks_for_itself() -> None:
    made = head(diagnose([LOOSE], RAN))
    assert (made.kind, made.headline, made.experiment) == ("warning", "Something is odd", "Look.")


@pytest.mark.parametrize(
    ("coverage", "running", "readings", "kind"),
    [
        (RAN, False, 9, "healthy"),
        (Coverage(), False, 9, "unchecked"),
        (Coverage(skipped={"a/b": "no data"}), False, 9, "unchecked"),
        (Coverage(), True, 9, "quiet"),
        (Coverage(), True, 0, "unchecked"),
    ],
)
def test_without_findings_nothing_is_claimed_that_was_not_checked(
    coverage: Coverage, running: bool, readings: int, kind: str
) -> None:
    made = head(diagnose([], coverage), running, readings)
    assert made.kind == kind
    assert ("wrong" in made.headline) == (kind == "healthy")
    if kind == "quiet":
        assert made.headline == "No finding up to step 1,234"
        assert "when the run ends" in made.checks


def test_a_records_findings_are_joined_again_with_the_coverage_of_its_end(tmp_path: Path) -> None:
    record = load(runs.broken(tmp_path / "broken"))
    made = diagnosis_of(record)
    assert record.diagnosis is not None
    assert made.verdict == record.diagnosis["verdict"]
    assert len(made.coverage.ran) == 13


def test_while_a_run_goes_on_its_findings_are_there_already(tmp_path: Path) -> None:
    made = diagnosis_of(load(runs.running(tmp_path / "running")))
    assert [c.name for c in made.causes] == ["unstable"]
    assert made.coverage == Coverage()


@pytest.mark.parametrize("coverage", [None, 3, [], {"ran": 3, "skipped": []}, {"ran": [1], "skipped": {"a": 2}}])
def test_a_damaged_diagnosis_harms_nobody(tmp_path: Path, coverage: object) -> None:
    record = load(runs.healthy(tmp_path / "healthy"))
    record.info["diagnosis"]["coverage"] = coverage
    assert all(isinstance(rule, str) for rule in diagnosis_of(record).coverage.ran)
