"""What stands on the page."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from lightning_diag.diagnosis import Coverage
from lightning_diag.finding import Finding, Severity
from lightning_diag.record import load
from lightning_diag.report.content import content
from tests.report import runs
from tests.report.records import curve, facts_for, write_record


def view(run_dir: Path) -> dict[str, Any]:
    return content(load(run_dir), datetime.now(timezone.utc))


def test_every_finding_with_a_signal_has_its_own_plot_marked_where_it_fired(tmp_path: Path) -> None:
    made = view(runs.broken(tmp_path / "run"))
    drawn = {chart["id"]: chart for chart in made["data"]["charts"]}
    assert len(drawn) == len(made["data"]["charts"])
    for card in made["cards"].findings():
        if card.rule == "setup/decay-on-norm":
            assert card.chart is None
            continue
        (mark,) = drawn[card.chart.id]["marks"]
        assert (mark["n"], mark["step"], mark["severity"]) == (card.number, card.finding.first_step, card.severity)


def test_bars_stay_on_their_scale(tmp_path: Path) -> None:
    bars = view(runs.broken(tmp_path / "run"))["bars"]
    assert bars[0]["rule"] == "updates/too-large"
    assert all(bar["x"] >= 0 and bar["x"] + bar["width"] <= 1000.1 for bar in bars)
    spike = next(bar for bar in bars if bar["rule"] == "loss/spike")
    assert spike["x"] == pytest.approx(200, abs=1)
    assert spike["words"] == "from step 400 to 404"


def test_a_bar_at_either_end_of_the_run_can_be_seen(tmp_path: Path) -> None:
    at = [Finding(f"x/at-{step}", Severity.WARNING, step, 0, (), "m") for step in (1, 300)]
    run_dir = write_record(tmp_path / "run", curve(300, 10, 2), at, facts=facts_for(("a", "b"), 300))
    first, last = view(run_dir)["bars"]
    assert (first["x"], first["width"]) == (0.0, 1000.0)
    assert (last["x"], last["width"]) == (994.0, 6.0)


def test_coverage_links_what_fired_and_gives_a_reason_for_what_did_not_run(tmp_path: Path) -> None:
    coverage = view(runs.broken(tmp_path / "run"))["coverage"]
    ran = dict(coverage["ran"])
    assert ("too-large", "critical", "finding-1") in ran["updates"]
    assert ("too-small", "ok", "") in ran["updates"]
    assert ("fit/overfitting", "no validation loss was measured") in coverage["skipped"]
    assert coverage["unmeasured"] == [(["update/lost"], "only with bf16 weights")]


def unchecked(run_dir: Path) -> Path:
    """A run that goes on, and has just begun."""
    return write_record(run_dir, status="running", coverage=Coverage())


@pytest.mark.parametrize(("make", "words"), [(runs.empty, "Nothing was checked"), (unchecked, "No check ran before")])
def test_without_coverage_the_page_says_so(tmp_path: Path, make: Any, words: str) -> None:
    made = view(make(tmp_path / "run"))
    assert words in made["coverage"]["words"]
    assert made["checklist"] == []


def test_a_run_that_goes_on_says_what_it_has_checked_so_far(tmp_path: Path) -> None:
    made = view(runs.running(tmp_path / "run"))
    assert made["verdict"].checks == "11 checks ran so far, 3 could not be judged"
    assert "may still be" in made["coverage"]["words"]
    assert made["coverage"]["count"] == 11 and len(made["coverage"]["skipped"]) == 3
    assert made["so_far"] and made["checklist"]


def test_epochs_of_a_long_run_are_thinned(tmp_path: Path) -> None:
    data = view(runs.healthy(tmp_path / "run"))["data"]
    assert data["epochs"][0] == (0, 1)
    assert data["span"] == (1, 600)
