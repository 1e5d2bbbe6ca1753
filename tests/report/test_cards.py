"""Findings and causes as cards."""

from __future__ import annotations

from lightning_diag.diagnosis import Coverage, diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.report.cards import CHIPS, MORE_CHIPS, cards, finding_card
from lightning_diag.report.gather import Gathered

WARN, CRIT, INFO = Severity.WARNING, Severity.CRITICAL, Severity.INFO


def test_a_cause_shows_what_points_to_it_before_what_follows() -> None:
    findings = [
        Finding("loss/not-learning", CRIT, 60, 0, (), "no"),
        Finding("updates/too-large", WARN, 20, 0, ("a",), "big"),
        Finding("x/unknown", WARN, 5, 0, (), "who knows"),
        Finding("setup/adam-with-l2", INFO, 1, 0, (), "by the way"),
        Finding("x/healed", WARN, 9, 0, (), "healed", status="resolved"),
    ]
    made = cards(diagnose(findings, Coverage(("a/b",))), Gathered())
    (cause,) = made.causes
    assert [c.rule for c in cause.pointing] == ["updates/too-large"]
    assert [c.rule for c in cause.symptoms] == ["loss/not-learning"]
    assert [c.symptom for c in (*cause.pointing, *cause.symptoms)] == [False, True]
    assert [c.rule for c in made.loose] == ["x/unknown"]
    assert {c.rule for c in made.notes} == {"setup/adam-with-l2", "x/healed"}
    assert [c.number for c in made.findings()] == [1, 2, 3, 4, 5]
    assert (cause.severity, cause.places) == ("critical", ["a"])


def test_a_thousand_places_are_a_few_chips() -> None:
    where = tuple(f"layer.{i}" for i in range(1000))
    card = finding_card(Finding("a/b", WARN, 1, 0, where, "m"), 1, Gathered())
    assert (len(card.places), len(card.more_places), card.hidden_places) == (
        CHIPS,
        MORE_CHIPS,
        1000 - CHIPS - MORE_CHIPS,
    )


def test_since_names_the_epoch_once_there_are_some() -> None:
    got = Gathered(epochs=[(0, 1), (1, 100)])
    finding = Finding("a/b", WARN, 1200, 1, (), "m", count=3, last_step=1500)
    card = finding_card(finding, 7, got)
    assert card.since == "step 1,200 (epoch 1)"
    assert card.status == "still there, seen 3 times, last at step 1,500"
    assert finding_card(finding, 7, Gathered(epochs=[(0, 1)])).since == "step 1,200"


def test_a_mark_ends_where_the_finding_was_resolved() -> None:
    healed = Finding("a/b", WARN, 10, 0, (), "m", status="resolved", first_step=10, last_step=12)
    open_ = Finding("a/b", WARN, 10, 0, (), "m")
    assert finding_card(healed, 1, Gathered()).mark()["last"] == 12
    assert finding_card(open_, 1, Gathered()).mark()["last"] is None


def test_evidence_is_words_and_numbers() -> None:
    evidence = {"value": float("nan"), "limit": 1e-7, "slope_t": 3, "chance_known": 1, "of_mine": 2}
    card = finding_card(Finding("a/b", WARN, 1, 0, (), "m", evidence=evidence), 1, Gathered())
    assert card.evidence == [
        ("measured", "not a number"),
        ("limit", "1e-7"),
        ("trend (t statistic)", "3"),
        ("of mine", "2"),
    ]
