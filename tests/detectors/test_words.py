"""Numbers in findings' sentences keep their digits."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightning_diag.detectors._words import percent
from tests.packages import ROOT

MESSAGES = sorted((ROOT / "lightning_diag" / "detectors").glob("*.py"))
FIXED = re.compile(r"\{[^{}]*:\.(?:[1-9]\d*f|\d+%)\}")  # so many decimals, however small the number


@given(st.floats(0, 3))
@example(0.99999)
@example(0.995)
@example(1e-300)
def test_a_share_is_told_from_none_and_from_all(share: float) -> None:
    told = float(percent(share).removesuffix(" %")) / 100
    assert told == pytest.approx(share, rel=0.051)
    assert (told == 0) == (share == 0)
    if share < 1:
        assert told < 1 or share > 1 - 1e-6


def test_no_sentence_rounds_a_number_away() -> None:
    assert len(MESSAGES) > 50
    for path in MESSAGES:
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        found = [f"{path.name}:{i}" for i, line in lines if FIXED.search(line) and path.name != "_words.py"]
        assert found == [], "use :.3g, or percent() and points() of _words"
