from __future__ import annotations

import fcntl
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from lightning_diag.errors import RecordError
from lightning_diag.record import can_resume, has_writer, new_run_dir
from lightning_diag.record.reader import FINDINGS, RUN


def test_two_runs_never_share_a_directory(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_run_dir(tmp_path / "runs"), range(64)))
    assert len(set(made)) == 64
    assert all(path.is_dir() and path.parent == tmp_path / "runs" for path in made)
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", path.name) for path in made)


def test_a_taken_name_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([b"\0\0\0", b"\0\0\0", b"\1\0\0"])
    monkeypatch.setattr("os.urandom", lambda n: next(drawn))
    monkeypatch.setattr("lightning_diag.record.directory.datetime", _Frozen)
    first, second = new_run_dir(tmp_path), new_run_dir(tmp_path)
    assert (first.name[-6:], second.name[-6:]) == ("000000", "010000")


def test_it_gives_up_when_every_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", bytes)
    monkeypatch.setattr("lightning_diag.record.directory.datetime", _Frozen)
    new_run_dir(tmp_path)
    with pytest.raises(RecordError, match="taken"):
        new_run_dir(tmp_path)


def test_the_name_is_a_folder_that_stays_inside(tmp_path: Path) -> None:
    assert new_run_dir(tmp_path, "../../etc").parent == tmp_path / "------etc"


@pytest.mark.parametrize("root", ["file/below", "bad\0name"])
def test_a_root_that_cannot_be_written(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="can't be written"):
        new_run_dir(tmp_path / root)


def test_random_streams_are_not_touched(tmp_path: Path) -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the legacy stream is the one a user's run may draw from
    before = random.getstate(), str(np.random.get_state())  # noqa: NPY002
    new_run_dir(tmp_path)
    assert before == (random.getstate(), str(np.random.get_state()))  # noqa: NPY002


class _Frozen(datetime):
    @classmethod
    def now(cls, tz: object = None) -> _Frozen:
        return cls(2025, 1, 2, 3, 4, 5)


def _record(path: Path, **info: object) -> Path:
    path.mkdir()
    (path / RUN).write_text(json.dumps({"schema": 1, "status": "running", "last_step": 60, **info}))
    (path / FINDINGS).write_text("")
    return path


def test_a_stopped_run_can_go_on_in_its_record(tmp_path: Path) -> None:
    assert can_resume(_record(tmp_path / "killed"), step=40)
    assert can_resume(_record(tmp_path / "failed", status="failed"), step=40)


def test_a_finished_run_can_only_go_on_from_its_end(tmp_path: Path) -> None:
    record = _record(tmp_path / "r", status="finished")
    assert [can_resume(record, step) for step in (None, 59, 60)] == [True, False, True]


def test_no_record_or_one_of_a_newer_version_cannot(tmp_path: Path) -> None:
    assert not can_resume(tmp_path / "nowhere")
    assert not can_resume(_record(tmp_path / "newer", schema=99))
    half = _record(tmp_path / "half")
    (half / FINDINGS).unlink()
    assert not can_resume(half)
    assert not (half / FINDINGS).exists()


def test_a_record_that_another_run_writes_cannot(tmp_path: Path) -> None:
    record = _record(tmp_path / "busy")
    with (record / FINDINGS).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not can_resume(record)
        assert has_writer(record) is True
    assert can_resume(record)
    assert has_writer(record) is False
    assert has_writer(tmp_path / "nowhere") is None
