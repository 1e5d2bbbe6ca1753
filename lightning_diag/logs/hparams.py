"""``hparams.yaml`` beside a log: what ``save_hyperparameters`` kept, as far as it is one scalar a line.

A YAML file is not loaded: only lines ``name: number`` or ``name: word`` are read, everything else is passed over.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FILE = "hparams.yaml"
MAX_BYTES = 1 << 20
_LINE = re.compile(r"([A-Za-z_][\w.]*): (\S.*)")
_WORDS = {"null": None, "~": None, "true": True, "false": False}
_OPENS = tuple("!&*|>[{%@`")  # of what is no plain scalar


def read(folder: Path) -> dict[str, Any]:
    r"""Return name -> scalar; empty where there is no such file.

    >>> import tempfile
    >>> text = "lr: 0.1\nact: 'relu'\nbias: true\nnet:\n  width: 8\nf: !!python/name:os\n"
    >>> with tempfile.TemporaryDirectory() as made:
    ...     _ = (Path(made) / FILE).write_text(text)
    ...     read(Path(made))
    {'lr': 0.1, 'act': 'relu', 'bias': True}
    """
    try:
        with (folder / FILE).open(encoding="utf-8", errors="replace") as file:
            lines = file.read(MAX_BYTES).splitlines()
    except OSError:
        return {}
    pairs = (found.groups() for line in lines if (found := _LINE.fullmatch(line.rstrip())))
    return {name: _scalar(text) for name, text in pairs if not text.startswith(_OPENS)}


def _scalar(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = json.loads(text)
    except ValueError:
        return text.strip("'\"")
    return value if isinstance(value, (int, float, str)) else text
