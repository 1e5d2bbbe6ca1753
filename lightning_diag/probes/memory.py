"""How much memory this process holds. Reads two small files of the kernel; no sync."""

from __future__ import annotations

import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
_MEMINFO = Path("/proc/meminfo")


def host_bytes() -> int | None:
    """Return the resident memory that belongs to this process alone; None where the kernel doesn't say.

    Pages of files and shared memory are left out: a data set that is mapped into memory fills them as it is read, and
    the kernel takes them back when it needs them (``proc_pid_statm(5)``: resident less shared).
    """
    try:
        _, resident, shared = _STATM.read_text().split()[:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def free_bytes() -> int | None:
    """Return the memory that programs can still get without swapping (``MemAvailable``); None where nobody says."""
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None
