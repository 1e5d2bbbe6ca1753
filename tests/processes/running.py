"""Runs the cases of ``program.py`` in an interpreter of their own, with a hard limit on time, and reads what came."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
Run = dict[int, dict[str, Any]]


def run(folder: Path, *cases: str, limit_s: float = 60.0, bare: bool = False) -> dict[str, Run]:
    """Return case -> rank -> what the rank wrote; fails when the cases take longer than ``limit_s``.

    With ``bare`` they train without us.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **({"BARE": "1"} if bare else {})}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "program.py"), str(folder), *cases],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        raise AssertionError(f"still running after {limit_s} s:\n{output[-4000:]}") from None
    found = {
        case: {
            int(path.stem.removeprefix("rank")): json.loads(path.read_text())
            for path in (folder / case).glob("rank*.json")
        }
        for case in cases
    }
    assert all(found.values()), output[-8000:]
    return found


def values(run: dict[str, Any]) -> dict[tuple[int, str], dict[str, NDArray[np.float64]]]:
    """Return (step, stage) -> signal -> array of one rank's readings."""
    return {
        (r["step"], r["stage"]): {name: np.asarray(value, dtype=np.float64) for name, value in r["values"].items()}
        for r in run["readings"]
    }
