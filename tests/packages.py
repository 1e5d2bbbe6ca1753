"""Packages that are not there: metadata of an installed distribution in a folder of its own, for entry points."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def own_entry_points() -> dict[str, list[str]]:
    """Group -> ``name = value`` of this package, as ``pyproject.toml`` has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    sections = re.findall(r'^\[project\.entry-points\."(.+)"\]\n((?:[^\n\[]+\n)+)', text, re.MULTILINE)
    return {group: re.sub('"', "", lines).splitlines() for group, lines in sections}


def install(folder: Path, name: str, entry_points: Mapping[str, Sequence[str]], **modules: str) -> Path:
    """Put a distribution's metadata and its modules into a folder; returns it (for ``sys.path``)."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    text = "".join(f"[{group}]\n" + "".join(f"{line}\n" for line in lines) for group, lines in entry_points.items())
    (info / "entry_points.txt").write_text(text)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    return folder
