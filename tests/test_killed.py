"""``kill -9`` at random moments: the record opens, and of what is older than a second nothing is missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_diag import check, report
from lightning_diag.record import can_resume, load
from tests.packages import ROOT

TRIES = 50


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_training_loses_at_most_the_last_second(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.killed", str(tmp_path), str(TRIES), "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stderr
    tries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"run"')]
    assert len(tries) == TRIES and {told["signal"] for told in tries} == {signal.SIGKILL}
    assert sum(told["steps"] > 0 for told in tries) >= TRIES // 4, "most were killed too early to say anything"
    for told in tries:
        run = Path(told["run"])
        if not (run / "run.json").exists():
            assert told["steps"] == 0, told
            continue
        record = load(run)
        steps = {reading.step for reading in record.readings() if "loss/train" in reading.values}
        assert steps >= set(range(1, told["steps"] + 1)), told
        assert record.damaged == 0 and record.info["status"] == "running" and can_resume(run)
        if told["steps"]:
            assert record.coverage is not None and "loss/non-finite" in record.coverage["ran"], told
            assert "system/straggler" in record.coverage["skipped"], told
        if told["finding"]:
            assert "loss/non-finite" in {finding.rule for finding in record.findings}, told
    whole = Path(max(tries, key=lambda told: (told["finding"], int(told["steps"])))["run"])
    assert "loss/non-finite" in {finding.rule for finding in check(whole).findings}
    coverage = load(whole).coverage
    assert coverage is not None and set(coverage["ran"]) <= set(check(whole).coverage.ran)
    assert f"{len(coverage['ran'])} checks ran" in report.write(whole).read_text()
