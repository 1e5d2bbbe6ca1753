"""Numbers and names for people."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.report.words import clean, number, percent, sentence


@given(st.text(max_size=300), st.integers(3, 60))
def test_clean_text_is_one_short_line_without_control_characters(text: str, limit: int) -> None:
    plain = clean(text, limit)
    assert len(plain) <= limit
    assert plain == " ".join(plain.split(" "))
    assert not [c for c in plain if unicodedata.category(c) in ("Cc", "Cf", "Cs")]


def test_clean_keeps_head_and_tail_of_a_long_name() -> None:
    name = "encoder." + "x" * 10_000 + ".weight"
    assert clean(name).startswith("encoder.x")
    assert clean(name).endswith("x.weight")


def test_clean_drops_whole_escape_sequences() -> None:
    assert clean("\x1b]8;;http://evil\x07link\x1b]8;;\x07 \x1b[1;31mred\x1b[0m") == "link red"


@given(st.floats())
def test_number_and_percent_say_every_float_shortly(value: float) -> None:
    assert 0 < len(number(value)) <= 14
    assert 0 < len(percent(value)) <= 16


def test_number_is_never_a_row_of_digits() -> None:
    assert number(322208318.0) == "3.222e8"
    assert number(-0.5) == "−0.5"
    assert number(-0.0) == "0"


def test_sentence_leaves_an_end_alone() -> None:
    assert [sentence(t) for t in ("a", "A.", "why?", "")] == ["A.", "A.", "Why?", ""]
