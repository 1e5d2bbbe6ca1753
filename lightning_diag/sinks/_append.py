"""A file that only grows by whole lines: what is written survives the process, what is torn is cut off."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from lightning_diag.errors import RecordError

_BLOCK = 65536


class AppendFile:
    """A file opened for appending, unbuffered: whole lines go out with one ``os.write``, a killed process loses none.

    What the system has taken stays even after ``kill -9``; it isn't forced onto the disk (``fsync`` can take seconds on
    a busy disk), so a machine that loses power may lose the last moments.

    Args:
        path: made where it doesn't exist; a torn last line of an earlier writer is cut off.
        lock: keep every other writer out until :meth:`close`, where the file system can.

    Raises:
        RecordError: it can't be opened (or, from :meth:`write`, written).
    """

    def __init__(self, path: Path, *, lock: bool = False) -> None:
        self.path = path
        self.fd = -1
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            if lock:
                self._lock()
            self.size = self._cut_torn_line()
        except OSError as error:
            self.close()
            raise RecordError(f"{path} can't be written: {error}") from error

    def write(self, line: bytes) -> None:
        """Append whole lines, each with its newline; after an error the file ends with the line before them."""
        try:
            if os.fstat(self.fd).st_nlink == 0:  # else the line would go into a file nobody can open any more
                raise FileNotFoundError("it was removed during the run")
            done = os.write(self.fd, line)
            while done < len(line):
                done += os.write(self.fd, line[done:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self.size)
            raise RecordError(f"{self.path} can't be written: {error}") from error
        self.size += len(line)

    def close(self) -> None:
        """Close it; may be called again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)  # a forked loader worker may hold the same open file
            with contextlib.suppress(OSError):
                os.close(fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EAGAIN, "another run is writing to it") from None
        except OSError:  # a file system without locks
            pass

    def _cut_torn_line(self) -> int:
        """Cut off what stands after the last newline; return the size in bytes."""
        end = size = os.fstat(self.fd).st_size
        while end > 0:
            start = max(0, end - _BLOCK)
            newline = os.pread(self.fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self.fd, end)
        return end


def replace_file(path: Path, content: bytes) -> None:
    """Write a whole file so that a reader sees the old or the new content, never a half.

    Raises:
        RecordError: it can't be written; the old content stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RecordError(f"{path} can't be written: {error}") from error
