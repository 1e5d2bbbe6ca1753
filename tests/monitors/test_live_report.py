"""The report while the run goes on: when it is drawn, what it costs the training, and what is left after a kill."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_diag import Diagnostics
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import RecordError
from lightning_diag.finding import Finding, Severity
from lightning_diag.monitors import live_report, outlets
from lightning_diag.monitors.live_report import LiveReport
from lightning_diag.reading import Reading
from lightning_diag.sinks.base import RunInfo
from tests.packages import ROOT
from tests.report import runs
from tests.training import Classifier, fit

PLAIN = Reading(5, 0, {})
VALIDATED = Reading(5, 0, {}, stage="validation")
SPIKE = Finding("loss/spike", Severity.WARNING, 5, 0, (), "loss 9")


def until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Processes that were started: each waits for a line and then says that it took half a second."""
    children: list[subprocess.Popen[str]] = []

    def start(run_dir: Path) -> subprocess.Popen[str]:
        code = "input(); print(0.5)"
        children.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return children[-1]

    monkeypatch.setattr(live_report, "_start", start)
    return children


def end(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is over, and the sink is the first to hear of it


def opened(clock: Clock, folder: Path | None, **options: Any) -> LiveReport:
    sink = LiveReport(clock=clock, **options)
    sink.open(RunInfo(folder, "run"))
    return sink


def test_only_news_is_drawn_and_not_before_its_time(
    tmp_path: Path, clock: Clock, started: list[subprocess.Popen[str]]
) -> None:
    sink = opened(clock, tmp_path, first_s=30, every_s=100, share=0.01)
    sink.finding(SPIKE)
    clock.now_s += 29
    sink.reading(PLAIN)
    assert started == []
    clock.now_s += 1
    sink.reading(PLAIN)  # the news has waited
    assert len(started) == 1
    sink.finding(SPIKE)
    clock.now_s += 1000
    sink.reading(PLAIN)  # one at a time
    assert len(started) == 1
    end(started[0])
    sink.reading(PLAIN)  # it took half a second of a core: the next in 50 s
    clock.now_s += 49
    sink.reading(PLAIN)
    assert len(started) == 1
    clock.now_s += 1
    sink.reading(PLAIN)
    assert len(started) == 2
    end(started[1])
    clock.now_s += 1
    sink.reading(PLAIN)
    clock.now_s += 5000
    sink.reading(PLAIN)
    sink.finding(Finding("setup/decay-on-norm", Severity.INFO, 5, 0, (), "a note"))
    assert len(started) == 2  # nothing new
    sink.block([PLAIN, VALIDATED, PLAIN])
    assert len(started) == 3
    sink.close(Diagnosis())
    assert started[2].poll() is not None


def test_news_comes_no_more_often_than_asked_for(
    tmp_path: Path, clock: Clock, started: list[subprocess.Popen[str]]
) -> None:
    sink = opened(clock, tmp_path, first_s=0, every_s=100, share=0.5)
    sink.reading(VALIDATED)
    end(started[0])
    sink.reading(VALIDATED)
    clock.now_s += 99
    sink.reading(VALIDATED)
    assert len(started) == 1
    clock.now_s += 1
    sink.reading(PLAIN)
    assert len(started) == 2
    sink.close(Diagnosis())


def test_without_a_folder_nothing_is_drawn(clock: Clock, started: list[subprocess.Popen[str]]) -> None:
    sink = opened(clock, None, first_s=0)
    sink.finding(SPIKE)
    sink.close(Diagnosis())
    assert started == []


def test_the_page_of_a_run_in_progress_says_its_step(tmp_path: Path, clock: Clock) -> None:
    run_dir = runs.running(tmp_path / "run")
    before = {path.name for path in run_dir.iterdir()}
    sink = opened(clock, run_dir, first_s=0)
    sink.finding(SPIKE)
    until((run_dir / "report.html").exists)
    assert "Run in progress, step 300 of 1,000" in (run_dir / "report.html").read_text(encoding="utf-8")
    child = sink._child
    assert child is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    sink.reading(PLAIN)
    assert sink._next >= clock.now_s + sink.every_s
    sink.close(Diagnosis())
    assert {path.name for path in run_dir.iterdir()} == before | {"report.html"}


@pytest.mark.parametrize(
    "code", ["raise ValueError('planted')", "import os; os.kill(os.getpid(), 9)", "print('what?')"]
)
def test_a_process_that_fails_is_an_error_told_at_the_next_reading(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(live_report, "DRAW", code)
    sink = opened(clock, tmp_path, first_s=0)
    sink.finding(SPIKE)
    assert sink._child is not None
    os.waitid(os.P_PID, sink._child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(RecordError, match=r"failed: (ValueError: planted|exit status -9|it said 'what\?)"):
        sink.reading(PLAIN)
    sink.close(Diagnosis())


def test_an_interpreter_that_is_missing_is_an_error(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    sink = opened(clock, tmp_path, first_s=0)
    with pytest.raises(RecordError, match="can't be started"):
        sink.finding(SPIKE)


def test_closing_ends_a_process_that_hangs(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_report, "DRAW", "import time; time.sleep(100)")
    sink = opened(clock, tmp_path, first_s=0)
    sink.finding(SPIKE)
    child = sink._child
    assert child is not None and child.poll() is None
    start = time.monotonic()
    sink.close(Diagnosis())
    assert child.returncode == -signal.SIGTERM and time.monotonic() - start < 2
    assert sink.__reduce__()[1] == (0, 180.0, 0.01, clock)


# ------------------------------------------------------------------ in a training


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def trained(folder: Path, callbacks: list[Any]) -> tuple[Tensor, Tensor]:
    """Weights and the state of the random numbers after a training that validates often and has something to tell."""
    torch.manual_seed(0)
    module = Classifier(lr=3.0)
    fit(module, callbacks, folder, steps=250, check_val_every_n_epoch=1)
    return weights(module), torch.get_rng_state()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "LiveReport", partial(LiveReport, first_s=0, every_s=0, share=1.0))


def test_training_is_the_same_and_the_last_page_is_that_of_the_end(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="lightning_diag")
    count: list[Path] = []
    start = live_report._start

    def counted(run_dir: Path) -> subprocess.Popen[str]:
        count.append(run_dir)
        return start(run_dir)

    monkeypatch.setattr(live_report, "_start", counted)
    diag = Diagnostics(run_dir=tmp_path / "run")
    watched = trained(tmp_path / "watched", [diag])
    bare = trained(tmp_path / "bare", [])
    assert all(torch.equal(a, b) for a, b in zip(watched, bare, strict=True))
    assert count
    assert not [r for r in caplog.records if "switched off" in r.getMessage()]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Run in progress" not in page and "finished" in page
    assert list((tmp_path / "run").glob(".*")) == []


def test_drawing_that_breaks_leaves_the_training_alone_and_is_told_once(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="lightning_diag")
    monkeypatch.setattr(live_report, "DRAW", "raise ValueError('planted')")
    watched = trained(tmp_path / "watched", [Diagnostics(run_dir=tmp_path / "run")])
    bare = trained(tmp_path / "bare", [])
    assert all(torch.equal(a, b) for a, b in zip(watched, bare, strict=True))
    told = [r.getMessage() for r in caplog.records if "planted" in r.getMessage()]
    assert len(told) == 1 and told[0].startswith("LiveReport failed and is switched off; training goes on.")
    assert "finished" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


KILLED = """
import sys
from functools import partial
from pathlib import Path
from lightning_diag import Diagnostics
from lightning_diag.monitors import outlets
from lightning_diag.monitors.live_report import LiveReport
from tests.training import Classifier, fit
outlets.LiveReport = partial(LiveReport, first_s=0, every_s=0)
folder = Path(sys.argv[1])
fit(Classifier(lr=3.0), [Diagnostics(run_dir=folder / "run")], folder, steps=-1, max_epochs=-1)
"""


def test_a_killed_run_leaves_a_report(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            until((tmp_path / "run" / "report.html").exists, 60)
        finally:
            child.kill()
    assert json.loads((tmp_path / "run" / "run.json").read_bytes())["status"] == "running"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>") and "Run in progress, step " in page
