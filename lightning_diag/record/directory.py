"""Where a run's record goes: a directory no other run has, or the one a stopped run left."""

from __future__ import annotations

import fcntl
import os
import re
from datetime import datetime, timezone
from pathlib import Path

from lightning_diag.errors import RecordError
from lightning_diag.record.reader import FINDINGS, read_info

_TRIES = 16


def new_run_dir(root: str | os.PathLike[str], name: str = "") -> Path:
    """Make and return ``root/name/<UTC time>-<6 hex>``, which no other run has got.

    The directory is created exclusively and its name drawn from the operating system, so runs that start in the same
    second never share one, and no random stream of the run is touched.

    Args:
        root: made where it doesn't exist.
        name: folder in between; other characters than letters, digits, ``-`` and ``_`` become ``-``, empty leaves it
            out.

    Raises:
        RecordError: it can't be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     new_run_dir(root, "../my net").relative_to(root).parts[0]
    '---my-net'
    """
    folder = Path(root) / re.sub(r"[^A-Za-z0-9_-]", "-", name)
    now = datetime.now(timezone.utc)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            path = folder / f"{now:%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    except (OSError, ValueError) as error:
        raise RecordError(f"{folder} can't be written: {error}") from error
    raise RecordError(f"{folder} can't be written: {_TRIES} names were taken")


def has_writer(run_dir: str | os.PathLike[str]) -> bool | None:
    """Whether a process on this machine has the record open for writing; None where that can't be told.

    Args:
        run_dir: the record's directory.
    """
    try:
        with (Path(run_dir) / FINDINGS).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def can_resume(run_dir: str | os.PathLike[str], step: int | None = None) -> bool:
    """Whether a run that goes on from a checkpoint may go on in this record.

    It may not where no whole record of this version is, where another run is writing (several runs can start from one
    checkpoint), or where ``step`` would go back behind the end of a run that finished.

    Args:
        run_dir: the record's directory.
        step: the checkpoint's step, if known.
    """
    path = Path(run_dir)
    try:
        info = read_info(path)
        with (path / FINDINGS).open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (RecordError, OSError):
        return False
    return info["status"] != "finished" or step is None or step >= info["last_step"]
