"""A real browser for the report's tests; without one they are skipped, and say what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_diag.report import write
from tests.report import runs

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = os.environ.get("LIGHTNING_DIAG_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"no Chromium: none of {', '.join(CHROMIUM)} is on the PATH, LIGHTNING_DIAG_CHROMIUM is not set")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One report of each small run."""
    root = tmp_path_factory.mktemp("reports")
    made = (runs.healthy, runs.broken, runs.empty, runs.hostile, runs.running)
    written = {make.__name__: write(make(root / make.__name__)) for make in made}
    written["accepted"] = write(runs.broken(root / "accepted"), accepted=runs.accepted)
    return written
