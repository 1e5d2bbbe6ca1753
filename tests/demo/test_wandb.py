"""What the demo leaves in W&B, read back from the offline run: exactly what the documentation lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")
pytest.importorskip("wandb")

from lightning_diag.demo.data import real_digits
from lightning_diag.demo.training import Plan, train
from lightning_diag.signals import PREFIX, logged_keys
from lightning_diag.sinks._charts import CLASSES, CONFUSIONS, MEDIA, REPORT, TABLE
from tests.wandb_file import read_finished

SUMMARY = {"worst_severity", "open_findings", "overhead_frac", "verdict", "cause", "next_experiment"}
GROUPS = ("loss/", "accuracy/", "lr/", "grad/", "update/", "activation/", "class/", "domain/")  # what the demo has
NOT_HERE = "activation/attention"  # its network is one of convolutions


def test_an_offline_run_of_the_demo_holds_exactly_the_documented_keys(tmp_path: Path) -> None:
    digits = real_digits()
    result = train(Plan("lr", digits["train"], digits["val"], lr=0.2, epochs=6), tmp_path)
    (file,) = result.log_dir.glob("*.wandb")
    log = read_finished(file)
    ours = [row for row in log.history if "diag/step" in row]
    media = {key for row in ours for key in MEDIA if f"{key}/_type" in row}
    keys = {key for row in ours for key in row if not key.startswith(tuple(f"{m}/" for m in MEDIA))} - {"diag/step"}
    logged = {key.removeprefix(PREFIX) for key in keys if key.startswith(PREFIX)}
    documented = {key.removeprefix(PREFIX) for key in logged_keys()}
    assert logged <= documented
    assert {key for key in documented - logged if key.startswith(GROUPS) and not key.startswith(NOT_HERE)} == set()
    assert len(keys) <= 60
    assert {TABLE, CLASSES, CONFUSIONS, REPORT} <= media <= MEDIA

    # the table holds every finding, an alert each of warning or worse, the report is the report
    path = [row[f"{TABLE}/path"] for row in ours if f"{TABLE}/path" in row][-1]
    table = json.loads((result.log_dir / "files" / path).read_text())
    told = {row[0]: dict(zip(table["columns"], row, strict=True)) for row in table["data"]}
    assert {f.rule: (str(f.severity), f.status) for f in result.diagnosis.findings} == {
        rule: (row["severity"], row["status"]) for rule, row in told.items()
    }
    serious = {f.rule for f in result.diagnosis.findings if f.severity >= 1}
    assert serious and {title.partition(": ")[2] for title, _, _ in log.alerts} <= serious
    page = next(row[f"{REPORT}/path"] for row in ours if f"{REPORT}/path" in row)
    assert (result.log_dir / "files" / page).read_bytes() == (result.run_dir / "report.html").read_bytes()

    # the summary sorts runs
    summary: dict[str, Any] = {key.removeprefix(PREFIX): value for key, value in log.summary.items()}
    assert summary.keys() >= SUMMARY
    assert summary["verdict"] == result.diagnosis.verdict
    assert summary["cause"] == result.diagnosis.causes[0].name
    assert 0 < summary["overhead_frac"] < 1
