from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks._class_history import MAX_CLASSES, MAX_PASSES, ClassHistory
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.wandb import WandbSink
from tests.wandb_file import read_finished


def passed(epoch: int, classes: int = 3, names: tuple[str, ...] = (), train: bool = False) -> Reading:
    matrix = np.full((classes, classes), 2.0)
    np.fill_diagonal(matrix, 20.0 - np.arange(classes) % 17)
    values: dict[str, Any] = {"class/support": matrix.sum(1), "class/right": np.diag(matrix).copy(),
                              "class/predicted": matrix.sum(0), "class/confusion": matrix}  # fmt: skip
    if train:
        values["class/train_support"] = np.full(classes, 10.0)
    return Reading(10 * (epoch + 1), epoch, values, Facts(names={"class": names} if names else {}), stage="validation")


def test_rows_are_the_worst_first_and_training_samples_add_up() -> None:
    history = ClassHistory()
    assert history.class_rows() == [] and history.pair_rows() == [] and history.heat_map() == ""
    assert not history.add(Reading(1, 0, {"loss/train": 1.0}))
    for epoch in range(2):
        assert history.add(passed(epoch, names=("a", "b", "c"), train=True))
    rows = history.class_rows()
    assert [row[0] for row in rows] == ["c", "b", "a"] and rows[0][4] == 20
    assert rows[2][1] == pytest.approx(4 / 24) and rows[2][3] == 24
    assert len(history.pair_rows()) == 6


def test_size_is_bounded_and_names_are_escaped() -> None:
    history = ClassHistory()
    for epoch in range(3 * MAX_PASSES):
        history.add(passed(epoch, 200, tuple(f"<script>{k}" for k in range(200))))
    assert len(history.class_rows()) == MAX_CLASSES
    picture = history.heat_map()
    assert "<script" not in picture and len(picture) < 1_500_000
    assert picture.count("<rect") <= MAX_CLASSES * MAX_PASSES


def test_the_offline_file_holds_tables_and_heat_map(tmp_path: Path) -> None:
    import wandb

    run = wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True))
    sink = WandbSink(run)
    sink.open(RunInfo(None, "classes"))
    sink.reading(passed(0, names=("cat", "dog", "eel")))
    sink.reading(passed(1, names=("cat", "dog", "eel")))
    sums = np.array([[40.0, 4.0, 4.0, 40.0, 8.0, 2.0], [50.0, 25.0, 25.0, 50.0, 60.0, 90.0]])
    facts = Facts(names={"domain": ("synthetic", "real<b>")})
    sink.reading(Reading(30, 2, {"domain/val_sums": sums}, facts, stage="validation"))
    sink.close(Diagnosis())
    path, files = Path(run.settings.sync_file), Path(run.settings.files_dir)
    run.finish()
    rows = [row for row in read_finished(path).history if "diag/classes/path" in row]
    assert len(rows) == 2  # at the first pass, and the last at the end
    table = json.loads((files / rows[-1]["diag/classes/path"]).read_text())
    assert table["data"][0][0] == "eel" and table["columns"][1] == "error"
    assert "diag/class_error_by_epoch/path" in rows[-1] and "diag/confusions/path" in rows[-1]
    domains = json.loads((files / rows[-1]["diag/domains/path"]).read_text())["data"]
    assert [row[2:5] for row in domains] == [["synthetic", 40, 0.1], ["real<b>", 50, 0.5]]
    assert domains[1][5] == pytest.approx(0.5 - 1.96 * (0.25 / 50) ** 0.5) and domains[0][7] == pytest.approx(0.2)
    picture = (files / rows[-1]["diag/error_by_domain/path"]).read_text()
    assert picture.count("<polyline") == 2 and "<b>" not in picture
