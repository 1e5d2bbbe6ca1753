"""Who ran what, and how old the page is."""

from __future__ import annotations

import fcntl
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lightning_diag.finding import Finding, Severity
from lightning_diag.record import load
from lightning_diag.record.reader import FINDINGS
from lightning_diag.report.gather import Gathered, gather
from lightning_diag.report.runfacts import limits, run_facts, run_head, status_of
from lightning_diag.report.verdict import MAX_FINDINGS, diagnosis_of
from tests.report import runs
from tests.report.records import write_record


def test_a_run_that_goes_on_says_so_and_one_that_fell_silent_too(tmp_path: Path) -> None:
    record = load(runs.running(tmp_path / "run"))
    got = gather(record.readings(), record.facts)
    now = datetime.now(timezone.utc)
    head = run_head(record, got, now, status_of(record, now))
    assert (head["status"], head["progress"]) == ("run in progress", "step 300 of 1,000, epoch 9")
    assert head["banner"].startswith("Run in progress, step 300 of 1,000, epoch 9. This page")
    for file in record.run_dir.iterdir():
        os.utime(file, ((now - timedelta(hours=5)).timestamp(),) * 2)
    with (record.run_dir / FINDINGS).open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert status_of(record, now) == "running"
        assert "nothing new came for 5 hours" in run_head(record, got, now, "running")["banner"]


def test_a_run_to_whose_record_nobody_writes_was_killed(tmp_path: Path) -> None:
    record = load(runs.running(tmp_path / "run"))
    now = datetime.now(timezone.utc)
    assert status_of(record, now + timedelta(seconds=5)) == "running", "it may have been opened this moment"
    later = now + timedelta(minutes=1)
    assert status_of(record, later) == "killed"
    head = run_head(record, gather(record.readings(), record.facts), later, "killed")
    assert (head["status"], head["status_kind"], head["age"]) == ("killed", "killed", "")
    assert head["banner"].startswith("The run never came to its end: it was killed, or its machine was. Last seen at")
    ended = load(runs.healthy(tmp_path / "ended"))
    assert status_of(ended, later) == "finished"


def test_a_finished_run_needs_no_banner_unless_its_record_lacks_something(tmp_path: Path) -> None:
    record = load(runs.healthy(tmp_path / "run"))
    now = datetime.now(timezone.utc)
    assert run_head(record, Gathered(), now, "finished")["banner"] == ""
    record.thinned, record.damaged = True, 1
    banner = run_head(record, Gathered(), now, "finished")["banner"]
    assert "left out" in banner
    assert "1 line of the record could not be read" in banner


def test_facts_are_labelled_and_the_unknown_is_left_out(tmp_path: Path) -> None:
    record = load(runs.broken(tmp_path / "run"))
    facts = dict(run_facts(record, gather(record.readings(), record.facts)))
    assert facts["Created"] == "2025-01-02 03:04 UTC"
    assert facts["Gradient clipping"] == "1"
    assert facts["Parameters"] == "12 tensors, 1,200 weights"
    assert facts["Budget"] == "0.01"
    assert facts["Versions"] == "lightning 2.5.0, torch 2.6.0"
    assert "Strategy" not in facts


def test_where_the_time_went_is_told(tmp_path: Path) -> None:
    times = {"time/elapsed_s": 200.0, "time/validation_s": 30.0, "time/checkpoint_s": 1.0, "time/wait_frac": 0.25}
    record = load(write_record(tmp_path / "run", [{"s": 1, "e": 0, "b": -1, "g": "train", "v": times}]))
    facts = dict(run_facts(record, gather(record.readings(), record.facts)))
    assert facts["Time measured"] == "3 minutes 20 seconds"
    assert facts["Time in validation"] == "15 %" and facts["Time saving checkpoints"] == "0.5 %"
    assert facts["Time waiting for batches"] == "25 %, mean of samples"


def test_limits_of_the_checks_stand_apart(tmp_path: Path) -> None:
    settings = {"Adam.lr": 0.2, "Adam.amsgrad": False, "Adam.maximize": True}
    meta: dict[str, Any] = {
        "detectors": {"loss/spike": {"limit": 8.0, "min_rise": 0.05}, "x/y": {}, "odd": 3},
        "model": "Net",
        "hyperparameters": settings,
    }
    record = load(write_record(tmp_path / "run", meta=meta))
    assert limits(record) == [("loss/spike", "limit 8, min rise 0.05"), ("x/y", "none")]
    facts = dict(run_facts(record, Gathered()))
    assert not any(label.startswith("detectors") for label in facts)
    assert facts["Adam.lr"] == "0.2" and "Adam.amsgrad" not in facts and facts["Adam.maximize"] == "True"


def test_resumes_are_told_and_a_flood_of_findings_is_cut(tmp_path: Path) -> None:
    flood = [Finding(f"x/{i}", Severity.WARNING, 1, 0, (), "m") for i in range(MAX_FINDINGS + 1)]
    record = load(write_record(tmp_path / "run", findings=flood))
    record.info["sessions"] = [1, 500, 1200]
    assert dict(run_facts(record, Gathered()))["Resumed at step"] == "500, 1,200"
    assert "300 most severe of 301" in run_head(record, Gathered(), datetime.now(timezone.utc), "finished")["banner"]
    assert len(diagnosis_of(record).notes) == MAX_FINDINGS


def test_a_record_with_odd_entries_is_shown(tmp_path: Path) -> None:
    record = load(write_record(tmp_path / "run", meta={"detectors": [1], "deep": {"er": {"still": [1, None]}}}))
    record.info["created"] = "yesterday"
    facts = dict(run_facts(record, Gathered()))
    assert facts["Created"] == "yesterday"
    assert facts["Deep er still"] == "1, None"
    assert limits(record) == []
