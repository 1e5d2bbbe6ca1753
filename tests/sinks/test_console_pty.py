"""The console in a real training on a real terminal (a pty), beside each of Lightning's progress bars.

What was written is laid out by a terminal emulator: a bar that is torn leaves pieces of itself behind.
"""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import pytest

from lightning_diag import load
from tests.packages import ROOT

pyte = pytest.importorskip("pyte", reason="the package pyte is not installed")

COLUMNS, LINES = 90, 40
SCRIPT = """
import logging, sys, warnings
warnings.filterwarnings("ignore")
logging.disable(logging.INFO)  # Lightning puts its last word onto the bar
from pathlib import Path
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning_diag import Diagnostics
from tests.training import Classifier, fit
bar = {"tqdm": TQDMProgressBar, "rich": RichProgressBar}[sys.argv[1]]()
diag = Diagnostics(run_dir=Path(sys.argv[2]) / "run", strict=True, every_n_steps=5)
fit(Classifier(lr=1.0), [diag, bar], Path(sys.argv[2]), steps=120, enable_progress_bar=True)
"""
HEAD = re.compile(r"lightning_diag (INFO|WARNING|CRITICAL|resolved|Healthy)")
BAR = {"tqdm": re.compile(r"^Epoch \d+: .*it/s"), "rich": re.compile(r"^Epoch \d+/-?\d+ .*it/s")}


def on_a_terminal(*command: str, **environment: str) -> str:
    """Run a program on a terminal of its own and return all it wrote there."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    ours = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI"):
        ours.pop(name, None)
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, cwd=ROOT, env=ours | environment, close_fds=True
    ) as process:
        os.close(follower)
        written = bytearray()
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            written += data
        os.close(leader)
        assert process.wait(60) == 0, written.decode(errors="replace")
    return written.decode()


@dataclass
class Row:
    """One row of the terminal: its text, and the colours that stand in it."""

    text: str
    colors: set[str]


def rows(written: str) -> list[Row]:
    """What stands on the terminal in the end, with what was scrolled away."""
    screen = pyte.HistoryScreen(COLUMNS, LINES, history=10_000)
    pyte.Stream(screen).feed(written)
    lines = [*screen.history.top, *(screen.buffer[y] for y in range(LINES))]
    cells = [[line[x] for x in range(COLUMNS)] for line in lines]
    return [Row("".join(c.data for c in row).rstrip(), {c.fg for c in row if c.data.strip()}) for row in cells]


def told(shown: list[Row]) -> Iterator[list[Row]]:
    """What the package told, each with the rows that go on with it."""
    for i, row in enumerate(shown):
        if HEAD.match(row.text):
            more = next((k for k in range(i + 1, len(shown)) if not shown[k].text.startswith("      ")), len(shown))
            yield shown[i:more]


@pytest.mark.slow
@pytest.mark.parametrize("bar", ["tqdm", "rich"])
def test_a_finding_is_a_line_of_its_own_above_a_bar_that_stays_whole(bar: str, tmp_path: Path) -> None:
    shown = rows(on_a_terminal(sys.executable, "-c", SCRIPT, bar, str(tmp_path)))
    lines = list(told(shown))
    assert len(lines) >= 3, "findings and the verdict"
    assert len([row for row in shown if "it/s" in row.text]) == 1, "a torn bar leaves pieces behind"
    assert BAR[bar].match(next(row.text for row in shown if "it/s" in row.text))
    assert [row.text for row in shown if "lightning_diag" in row.text] == [line[0].text for line in lines]
    record = load(tmp_path / "run")
    whole = [" ".join(" ".join(row.text for row in line).split()) for line in lines]
    assert any(record.diagnosis["verdict"] in text for text in whole), "no word is broken"  # type: ignore[index]
    serious = {event.rule for event in record.events if event.severity >= 1}
    assert {text.split()[2] for text in whole if " at step " in text} == serious
    for line, text in zip(lines, whole, strict=True):
        wanted = {"WARNING": "brown", "CRITICAL": "red", "resolved": "green"}[text.split()[1].rstrip(":")]
        assert wanted in line[0].colors


@pytest.mark.slow
@pytest.mark.parametrize("bar", ["tqdm", "rich"])
def test_without_colors_where_the_user_wants_none(bar: str, tmp_path: Path) -> None:
    shown = rows(on_a_terminal(sys.executable, "-c", SCRIPT, bar, str(tmp_path), NO_COLOR="1"))
    lines = list(told(shown))
    assert len(lines) >= 3
    assert {color for line in lines for row in line for color in row.colors} == {"default"}
