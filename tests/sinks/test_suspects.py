from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks._suspect_pictures import SuspectPictures
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.suspects import COLUMNS, FILE, SuspectSink

NAN = float("nan")
TABLE = np.array([[5.0, 1, 0, 17, 3, 8, 0.1, -2.5, 4], [6.0, 0, 2, NAN, 1, NAN, 0.3, -1.5, 3]])


def row(key: tuple[float, float, float], pixels: list[float], channels: int = 1) -> NDArray[np.float64]:
    return np.array([*key, channels, 2, len(pixels) // channels // 2, *pixels])


def columns(path: Path) -> dict[str, list[str]]:
    """The file as any reader of tables sees it."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    return {name: [row[at] for row in rows[1:]] for at, name in enumerate(rows[0])}


def test_any_reader_of_tables_reads_the_list_and_a_killed_run_leaves_it(tmp_path: Path) -> None:
    sink = SuspectSink()
    sink.open(RunInfo(tmp_path, "run"))
    sink.reading(Reading(1, 0, {"loss/train": np.float64(1.0)}))
    sink.reading(Reading(9, 1, {"data/suspects": TABLE}, stage="validation"))
    assert not list(tmp_path.iterdir())
    sink.finding(Finding("data/leakage", Severity.WARNING, 9, 1, (), "other"))
    assert not list(tmp_path.iterdir())
    sink.finding(Finding("data/label-noise", Severity.WARNING, 9, 1, (), "noise"))
    read = columns(tmp_path / FILE)
    assert tuple(read) == COLUMNS
    assert read["content_key"] == [f"{5 | 1 << 21:016x}", f"{6 | 2 << 42:016x}"]
    assert read["given_label"] == ["3", "1"] and read["predicted_label"] == ["8", ""]
    assert read["sample_id"] == ["17", ""] and read["is_label_issue"] == ["True"] * 2
    sink.reading(Reading(18, 2, {"data/suspects": TABLE[:1]}, stage="validation"))
    sink.close(Diagnosis())
    assert columns(tmp_path / FILE)["sample_id"] == ["17"]


def test_without_a_suspect_or_a_folder_there_is_no_file(tmp_path: Path) -> None:
    for folder, table in ((tmp_path, np.empty((0, 9))), (None, TABLE)):
        sink = SuspectSink()
        sink.open(RunInfo(folder, "run"))
        sink.reading(Reading(9, 1, {"data/suspects": table}))
        sink.close(Diagnosis())
    assert not list(tmp_path.iterdir())


def test_pictures_are_matched_by_key_and_scaled_to_bytes() -> None:
    pictures = SuspectPictures()
    rows = np.stack([row((5, 1, 0), [-1, 0, 0, 1]), row((6, 0, 2), [NAN] * 4), row((9, 9, 9), [0, 0, 0, 1])])
    facts = Facts(names={"class": ("zero", "one", "two", "three")})
    assert not pictures.add(Reading(1, 0, {"data/suspects": TABLE}, facts))
    assert pictures.add(Reading(2, 0, {"data/suspect_pictures": rows}, facts))
    ((name, given, other, score, shown),) = pictures.rows(facts.names["class"])
    assert (name, given, other, score) == ("17", "three", "8", 0.1)
    assert shown.tolist() == [[0, 128], [128, 255]]


def test_colours_come_last_and_one_grey_is_black() -> None:
    pictures = SuspectPictures()
    pictures.add(Reading(1, 0, {"data/suspects": TABLE, "data/suspect_pictures": row((5, 1, 0), [2.0] * 12, 3)[None]}))
    shown = pictures.rows(())[0][-1]
    assert shown.shape == (2, 2, 3) and not shown.any()
