"""Findings that somebody accepted: they don't count, and stand on the page with the reason."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightning_diag.finding import Finding, Severity
from lightning_diag.record import load
from lightning_diag.report.accepted import PLACES, Accepted, nothing, rows, split
from lightning_diag.report.content import content
from lightning_diag.report.gather import Gathered
from tests.report import runs


def shown(run_dir: Path, accepted: Accepted) -> dict[str, Any]:
    return content(load(run_dir), datetime.now(timezone.utc), accepted)


def test_what_is_accepted_leaves_verdict_charts_and_cards_and_is_listed(tmp_path: Path) -> None:
    run_dir = runs.broken(tmp_path / "run")
    whole = shown(run_dir, nothing)
    assert whole["accepted"] == [] and "accepted" not in whole["verdict"].checks
    lead = ("updates/too-large", "loss/diverging", "gradients/exploding")
    page = shown(run_dir, lambda f: "a stress test" if f.rule in lead else None)
    assert page["verdict"].headline != whole["verdict"].headline
    assert page["verdict"].checks.endswith("; 3 findings accepted and left out")
    assert {card.rule for card in page["cards"].findings()}.isdisjoint(lead)
    assert {row["rule"]: row["reason"] for row in page["accepted"]} == dict.fromkeys(lead, "a stress test")
    assert len(page["bars"]) == len(whole["bars"]) - 3
    marks = [mark["rule"] for chart in page["data"]["charts"] for mark in chart["marks"]]
    assert marks and set(marks).isdisjoint(lead)


def test_a_rule_that_found_what_was_accepted_is_not_ticked_as_fine(tmp_path: Path) -> None:
    page = shown(runs.broken(tmp_path / "run"), lambda f: "known" if f.rule == "updates/too-large" else None)
    ran = {f"{group}/{name}": kind for group, rules in page["coverage"]["ran"] for name, kind, _ in rules}
    assert (ran["updates/too-large"], ran["updates/too-small"]) == ("accepted", "ok")
    (line,) = (line for line in page["checklist"] if "learning rate is in a sane" in line["item"])
    assert line["state"] == "failed" and ("updates/too-large", "accepted") in line["rules"]


def test_everything_accepted_is_healthy_as_far_as_it_counts(tmp_path: Path) -> None:
    page = shown(runs.broken(tmp_path / "run"), lambda f: "an exercise")
    assert page["verdict"].kind == "healthy" and "7 findings accepted" in page["verdict"].checks
    assert len(page["accepted"]) == 7


def test_a_row_is_bounded_and_clean() -> None:
    places = tuple(f"net.{i}" for i in range(20))
    finding = Finding("x/y", Severity.WARNING, 3, 0, ("", *places), "a\x1b[31mb")
    (row,) = rows([(finding, "why\x00not")], Gathered())
    assert (row["message"], row["reason"], row["more"]) == ("Ab.", "whynot", 21 - PLACES)
    assert row["places"][0] == "(unnamed)" and len(row["places"]) == PLACES


def test_split_asks_once_a_finding() -> None:
    asked: list[str] = []

    def accepted(finding: Finding) -> str | None:
        asked.append(finding.rule)
        return "" if finding.rule == "a/b" else None

    one, other = (Finding(rule, Severity.INFO, 1, 0, (), "") for rule in ("a/b", "c/d"))
    assert split([one, other], accepted) == ([other], [(one, "")])
    assert asked == ["a/b", "c/d"]
