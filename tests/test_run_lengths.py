"""Verdicts don't hang on a run's length, batch size, or interruption (``benchmarks/run_lengths.py`` has more)."""

from __future__ import annotations

import pytest

from benchmarks.run_lengths import FAMILIES, one, verdict

SHORT = sorted(FAMILIES.keys() - {"spike, not recovered"})  # 200 steps are too few to know that it doesn't recover
LONG = ("healthy", "nothing is learned", "learning rate far too low", "overfits")


@pytest.mark.parametrize("family", SHORT)
@pytest.mark.parametrize("change", [{}, {"batch": 10}, {"resume_at": 0.5}], ids=["plain", "batch x10", "resumed"])
def test_short_runs(family: str, change: dict[str, float]) -> None:
    said = verdict(family, one(family, 200, **change), 200)  # type: ignore[arg-type]
    assert not said.startswith(("ALARM", "MISSED")), said


@pytest.mark.parametrize("family", LONG)
@pytest.mark.parametrize("length", [2_000, 10_000])
def test_long_runs(family: str, length: int) -> None:
    said = verdict(family, one(family, length), length)
    assert not said.startswith(("ALARM", "MISSED")), said


def test_an_interruption_changes_no_step() -> None:
    assert one("diverges", 2_000) == one("diverges", 2_000, resume_at=0.5)
