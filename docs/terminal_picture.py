"""Draws the README's picture of the terminal: one frame of ``lightning-diag watch`` over a record.

``python docs/terminal_picture.py RUN docs/images/watch.svg``, with ``RUN`` a relative path
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from lightning_diag import load
from lightning_diag.cli.following import Following
from lightning_diag.cli.frame import frame

WIDTH = 112
_REMOTE_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def draw(run_dir: Path, target: Path) -> None:
    """Write the picture; it asks the network for nothing."""
    following = Following(run_dir)
    following.read()
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(frame(load(run_dir), following, WIDTH))
    svg = _REMOTE_FONTS.sub("", console.export_svg(title="lightning-diag watch", unique_id="watch"))
    svg = svg.replace("Fira Code", "ui-monospace, DejaVu Sans Mono, Menlo, Consolas")
    target.write_text(re.sub(r"[ \t]+\n", "\n", svg), encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
