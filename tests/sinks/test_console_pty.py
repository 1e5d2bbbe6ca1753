"""The console on a real terminal (a pty), beside Lightning's two progress bars."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from lightning_diag import load

ROOT = Path(__file__).parents[2]
COLUMNS = 90
SCRIPT = """
import sys, warnings
warnings.filterwarnings("ignore")
from pathlib import Path
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning_diag import Diagnostics
from tests.training import Classifier, fit
bar = {"tqdm": TQDMProgressBar, "rich": RichProgressBar}[sys.argv[1]]()
diag = Diagnostics(run_dir=Path(sys.argv[2]) / "run", strict=True, every_n_steps=5)
fit(Classifier(lr=1.0), [diag, bar], Path(sys.argv[2]), steps=120, enable_progress_bar=True)
"""


def on_a_terminal(*command: str) -> str:
    """Run a program on a terminal of its own and return all it wrote there."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
        environment.pop(name, None)
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, cwd=ROOT, env=environment, close_fds=True
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


@pytest.mark.slow
@pytest.mark.parametrize("bar", ["tqdm", "rich"])
def test_lines_stand_above_the_bar_and_break_between_words(bar: str, tmp_path: Path) -> None:
    written = on_a_terminal(sys.executable, "-c", SCRIPT, bar, str(tmp_path))
    assert "\x1b[" in written
    plain = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", written)
    rows = [row.rpartition("\r")[2] for row in plain.replace("\r\n", "\n").splitlines()]
    first = [i for i, row in enumerate(rows) if row.startswith("lightning_diag ")]
    assert len(first) >= 3, "findings and the verdict"
    for i in first:
        assert re.match(r"lightning_diag (INFO|WARNING|CRITICAL|resolved|Healthy)", rows[i])
        assert len(rows[i]) <= COLUMNS
        if rows[i + 1].startswith("      "):  # goes on
            assert "it/s" not in rows[i + 1]
    text = " ".join(plain.split())
    assert load(tmp_path / "run").diagnosis["verdict"] in text, "no word is broken"  # type: ignore[index]
    assert not any("lightning_diag " in row for row in rows if "it/s" in row), "a bar and a line on one row"
