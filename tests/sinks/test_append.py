from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from lightning_diag.errors import RecordError
from lightning_diag.sinks._append import AppendFile, replace_file


def test_lines_are_there_at_once_and_appended_to_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old\n")
    file = AppendFile(path)
    file.write(b"new\n")
    assert path.read_bytes() == b"old\nnew\n"
    assert file.size == 8
    file.close()
    file.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"a\n", b"a\n"), (b"a\ntor", b"a\n"), (b"torn", b""), (b"a\n" + b"x" * 200_000, b"a\n")],
)
def test_a_torn_last_line_is_cut_off(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(before)
    file = AppendFile(path)
    assert file.size == len(after)
    file.write(b"b\n")
    file.close()
    assert path.read_bytes() == after + b"b\n"


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    file = AppendFile(tmp_path / "f")
    monkeypatch.setattr("os.write", lambda fd, data: real(fd, data[:3]))
    file.write(b"0123456789\n")
    assert (tmp_path / "f").read_bytes() == b"0123456789\n"
    file.close()


def test_a_line_that_fails_half_way_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) % 2:
            return real(fd, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    file = AppendFile(tmp_path / "f")
    file.write(b"good\n")
    monkeypatch.setattr("os.write", full)
    with pytest.raises(RecordError, match="No space left") as caught:
        file.write(b"0123456789\n")
    assert isinstance(caught.value.__cause__, OSError)
    assert (tmp_path / "f").read_bytes() == b"good\n"
    file.close()


def test_a_file_removed_during_the_run_is_noticed(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "f")
    (tmp_path / "f").unlink()
    with pytest.raises(RecordError, match="removed"):
        file.write(b"x\n")
    file.close()


def test_a_closed_file_raises_and_touches_no_other(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "f")
    file.close()
    with pytest.raises(RecordError):
        file.write(b"x\n")


def test_a_missing_directory_raises(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="can't be written"):
        AppendFile(tmp_path / "no" / "f")


def test_only_one_writer_with_a_lock(tmp_path: Path) -> None:
    first = AppendFile(tmp_path / "f", lock=True)
    with pytest.raises(RecordError, match="another run"):
        AppendFile(tmp_path / "f", lock=True)
    first.close()
    AppendFile(tmp_path / "f", lock=True).close()


def test_a_lock_ends_with_close_although_a_forked_child_holds_the_file(tmp_path: Path) -> None:
    first = AppendFile(tmp_path / "f", lock=True)
    inherited = os.dup(first.fd)  # the same open file description, as after a fork
    first.close()
    AppendFile(tmp_path / "f", lock=True).close()
    os.close(inherited)


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: int, how: int) -> None:
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    file = AppendFile(tmp_path / "f", lock=True)
    file.write(b"x\n")
    file.close()


def test_replace_leaves_the_old_content_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    replace_file(path, b"old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordError, match="No space left"):
        replace_file(path, b"new content")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
