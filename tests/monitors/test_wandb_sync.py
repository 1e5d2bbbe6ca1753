"""``wandb sync`` of an offline run: whatever the run holds arrives."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from lightning_diag import Diagnostics
from lightning_diag.sinks._charts import REPORT, TABLE
from tests.training import Classifier, fit
from tests.wandb_file import read_finished
from tests.wandb_server import serving


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested media entries with their keys joined, NaN as text."""
    out: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}/")
        else:
            out[f"{prefix}{key}"] = "NaN" if isinstance(value, float) and math.isnan(value) else value
    return out


@pytest.mark.slow
def test_nothing_is_lost_on_its_way(tmp_path: Path) -> None:
    run = wandb.init(mode="offline", dir=str(tmp_path), project="p", settings=wandb.Settings(silent=True))
    diag = Diagnostics(run_dir=tmp_path / "run", strict=True, every_n_steps=5)
    fit(Classifier(lr=1.0), [diag], tmp_path, steps=100, logger=WandbLogger(experiment=run))
    file = Path(run.settings.sync_file)
    run.finish()
    log = read_finished(file)

    with serving() as uploaded:
        # nothing of this process's own: its service would be asked to sync
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "_WANDB"))}
        environment |= {"WANDB_BASE_URL": uploaded.url, "WANDB_API_KEY": "0" * 40}
        command = [sys.executable, "-m", "wandb", "sync", str(file.parent)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr

    ours = [flat(row) for row in log.history if "diag/step" in row]
    theirs = [flat(row) for row in uploaded.history if "diag/step" in flat(row)]
    assert len(theirs) == len(ours)
    for mine, arrived in zip(ours, theirs, strict=True):
        assert {k: v for k, v in mine.items() if k.startswith("diag/")} == {
            k: v for k, v in arrived.items() if k.startswith("diag/") and "artifact_path" not in k
        } | {k: v for k, v in mine.items() if "artifact_path" in k}
    assert [(a["title"], a["text"]) for a in uploaded.alerts] == [(title, text) for title, text, _ in log.alerts]
    assert uploaded.alerts
    assert uploaded.summary["diag/verdict"] == diag.diagnosis.verdict
    media = [v for row in ours for k, v in row.items() if k.endswith("/path")]
    assert media and set(media) <= uploaded.files.keys()
    page = next(row[f"{REPORT}/path"] for row in ours if f"{REPORT}/path" in row)
    assert uploaded.files[page] == (tmp_path / "run" / "report.html").read_bytes()
    assert any(f"{TABLE}/path" in row for row in ours)
