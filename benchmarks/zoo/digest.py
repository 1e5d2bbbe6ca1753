"""Which measuring code made a record."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import lightning_diag

ROOMS = ("_pipeline", "_ranks", "probes", "monitors", "record", "sinks")
REPLAY = "_replay.py"  # like the room `_judge`: run again at every replay


@cache
def package_digest() -> str:
    """Short hash of the package's measuring side: a record of another hash may lack signals."""
    root = Path(lightning_diag.__file__).parent
    files = [*root.glob("_*.py"), *(path for room in ROOMS for path in (root / room).glob("*.py"))]
    digest = hashlib.sha256()
    for path in sorted(files):
        if path.name != REPLAY:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
