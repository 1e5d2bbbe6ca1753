from __future__ import annotations

import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lightning_diag import cli, load
from lightning_diag.cli.following import Following
from lightning_diag.cli.frame import frame
from lightning_diag.diagnosis import Coverage, diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.record import RecordSink
from tests.test_replay import BROKEN, falling, readings, write

ROOT = Path(__file__).parents[2]
EVIL = Finding("activations/dead", Severity.WARNING, 5, 0, ("[bold]net[/bold]\x1b[31m.0",), "units\nof \x1b]0;x\x07net")


def drawn(run_dir: Path, width: int = 100, *, unicode: bool = True, now: float | None = None) -> str:
    following = Following(run_dir)
    following.read()
    console = Console(file=io.StringIO(), width=width)
    console.print(frame(load(run_dir), following, width, unicode=unicode, now=now))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def begun(run_dir: Path, losses: list[float], *findings: Finding) -> RecordSink:
    """A run that goes on."""
    sink = RecordSink()
    sink.open(RunInfo(run_dir, "run"))
    for reading in readings(losses)[:-1]:
        sink.reading(reading)
    for finding in findings:
        sink.finding(finding)
    return sink


def test_a_broken_run(tmp_path: Path) -> None:
    write(tmp_path, readings(BROKEN))
    text = drawn(tmp_path)
    assert load(tmp_path).diagnosis["verdict"].split(" (")[0] in " ".join(text.split())  # type: ignore[index]
    assert "finished  step 250 of 250 (100%)" in text
    assert "CRITICAL loss/non-finite since 201 whole run" in " ".join(text.split())
    assert "next: " in text
    (loss,) = (row for row in text.splitlines() if row.startswith("loss "))
    assert "█" in loss and loss.split()[1].endswith("!!!") and loss.split()[2] == "nan"


def test_a_healthy_run_that_goes_on(tmp_path: Path) -> None:
    sink = begun(tmp_path, falling(100))
    sink.reading(
        Reading(
            101, 0, {"lr": np.array([0.1, 0.2]), "grad/norm": np.float64(3), "system/interval_steps": np.float64(8)}
        )
    )
    text = drawn(tmp_path)
    assert "running  step 101" in text
    assert "Nothing of warning or worse so far (no check ran)." in text
    assert "sampled every 8 steps" in text
    assert any(row.startswith("learning rate") and "0.2" in row for row in text.splitlines())
    assert "latest" not in text
    sink.coverage(Coverage(("loss/spike",), {"fit/overfitting": "no validation"}))
    assert "so far (1 check ran, 1 could not be judged)." in drawn(tmp_path)
    sink.close(diagnose([], Coverage(("loss/spike",))))
    assert "Healthy" in drawn(tmp_path)


def test_findings_so_far_make_a_verdict_without_checks(tmp_path: Path) -> None:
    begun(tmp_path, falling(30), EVIL)
    text = drawn(tmp_path)
    assert text.splitlines()[1].startswith("WARNING: ")
    assert "0 checks" not in text


def test_a_silent_run_is_pointed_out(tmp_path: Path) -> None:
    begun(tmp_path, falling(30))
    assert "nothing new" not in drawn(tmp_path)
    assert "nothing new for 10 min: stalled, or killed?" in drawn(tmp_path, 200, now=time.time() + 600)


def test_names_can_do_no_harm_and_frames_stay_narrow(tmp_path: Path) -> None:
    begun(tmp_path, falling(30), EVIL)
    for width in (40, 60, 200):
        text = drawn(tmp_path, width)
        assert "\x1b" not in text and "\x07" not in text
        assert max(len(row.rstrip()) for row in text.splitlines()) <= width
    assert "[bold]net[/bold].0" in drawn(tmp_path, 200)


def test_an_old_terminal_gets_ascii(tmp_path: Path) -> None:
    write(tmp_path, readings(falling(50)))
    drawn(tmp_path, unicode=False).encode("ascii")


def test_an_empty_record(tmp_path: Path) -> None:
    write(tmp_path, [])
    text = drawn(tmp_path)
    assert "no reading yet" in text and "Not checked" in text


def test_one_frame_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "run", readings(BROKEN))
    for arguments in (["--once", str(tmp_path / "run")], [str(tmp_path)]):  # no terminal: one frame, too
        assert cli.main(["watch", *arguments]) == 0
        assert "loss/non-finite" in capsys.readouterr().out
    assert cli.main(["watch", str(tmp_path / "none")]) == 2
    assert "holds no run.json" in capsys.readouterr().err


def test_it_follows_a_run_and_ends_with_it(tmp_path: Path) -> None:
    sink = begun(tmp_path, falling(40))
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    command = [sys.executable, "-m", "lightning_diag", "watch", str(tmp_path), "--every", "0.1"]
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(command, stdout=follower, stderr=follower, cwd=ROOT, env=environment) as process:
        os.close(follower)
        seen = read_until(leader, b"step 40")
        facts = Facts(planned_steps=80)
        for step in range(41, 81):
            sink.reading(Reading(step, 1, {"loss/train": np.float64(1.0)}, facts))
        sink.finding(EVIL)
        seen += read_until(leader, b"activations/dead")
        assert process.poll() is None
        sink.close(diagnose([EVIL], Coverage(("activations/dead",))))
        seen += read_until(leader, b"finished")
        assert process.wait(20) == 0
    os.close(leader)
    assert b"80 of 80" in seen
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"


def read_until(leader: int, wanted: bytes, timeout_s: float = 30.0) -> bytes:
    seen, deadline = b"", time.monotonic() + timeout_s
    while wanted not in seen:
        assert time.monotonic() < deadline, seen.decode(errors="replace")
        try:
            seen += os.read(leader, 65536)
        except OSError:
            break
    assert wanted in seen, seen.decode(errors="replace")
    return seen
