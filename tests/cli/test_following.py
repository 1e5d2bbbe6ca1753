from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lightning_diag.cli.following import MAX_POINTS, Curve, Following, find_run
from lightning_diag.errors import RecordError
from lightning_diag.reading import Facts, Reading
from lightning_diag.record.lines import encode, encode_object
from lightning_diag.record.reader import READINGS


def line(step: int, **values: float) -> bytes:
    names = {"loss": "loss/train", "lr": "lr", "interval": "system/interval_steps"}
    return encode(Reading(step, step // 10, {names[k]: np.float64(v) for k, v in values.items()}))


def test_a_growing_record_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / READINGS
    following = Following(tmp_path)
    following.read()
    assert following.step == 0, "nothing there yet"
    file.write_bytes(encode_object({"facts": Facts(planned_steps=50).to_dict(), "session": 0}) + line(1, loss=2.0))
    following.read()
    assert (following.step, following.planned_steps, following.curves["loss/train"].values) == (1, 50, [2.0])
    whole = line(2, loss=1.5)
    with file.open("ab") as out:
        out.write(whole[:10])
    following.read()
    assert following.step == 1, "a torn line waits"
    with file.open("ab") as out:
        out.write(whole[10:] + b"damage\n" + b'{"v":3}\n' + line(30, loss=1.0, lr=0.1, interval=7))
    following.read()
    assert (following.step, following.epoch) == (30, 3)
    assert following.curves["loss/train"].values == [2.0, 1.5, 1.0]
    assert following.numbers == {"system/interval_steps": 7.0}
    assert following.changed_s == pytest.approx(file.stat().st_mtime)


def test_a_record_that_was_made_smaller_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / READINGS
    file.write_bytes(b"".join(line(step, loss=step) for step in range(1, 9)))
    following = Following(tmp_path)
    following.read()
    other = tmp_path / "new"
    other.write_bytes(b"".join(line(step, loss=step) for step in range(1, 20, 2)))
    other.replace(file)
    following.read()
    assert following.curves["loss/train"].steps == list(range(1, 20, 2))


def test_steps_that_come_again_replace_the_old_ones() -> None:
    curve = Curve()
    for step, value in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 9.0)):
        curve.push(step, value)
    assert (curve.steps, curve.values) == ([1, 2], [1.0, 9.0])


def test_a_long_curve_is_bounded_and_keeps_spikes_and_nan() -> None:
    curve = Curve()
    for step in range(1, 50_001):
        curve.push(step, 100.0 if step == 20_001 else math.nan if step == 31_000 else 1.0)
    assert MAX_POINTS // 2 <= len(curve.steps) == len(curve.values) <= MAX_POINTS
    assert max(b - a for a, b in pairwise([0, *curve.steps])) <= 50_000 // (MAX_POINTS // 2) + 1, (
        "as dense at its start"
    )
    assert curve.values.count(100.0) == 1
    assert sum(math.isnan(x) for x in curve.values) == 1
    assert curve.steps == sorted(curve.steps)


def test_the_newest_run_of_a_folder_is_found(tmp_path: Path) -> None:
    for i, name in enumerate(("a", "lightning_diag_runs/b", "lightning_diag_runs/c")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}")
        os.utime(tmp_path / name / "run.json", (i, i))
    assert find_run(tmp_path) == tmp_path / "lightning_diag_runs" / "c"
    assert find_run(tmp_path / "a") == tmp_path / "a"
    with pytest.raises(RecordError, match=r"holds no run\.json, nor does a folder in it"):
        find_run(tmp_path / "none")
