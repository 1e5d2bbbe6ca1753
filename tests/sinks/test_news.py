from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.finding import Finding, Severity
from lightning_diag.sinks._news import News, clean, places

SPIKE = Finding("loss/spike", Severity.WARNING, 41, 0, (), "a spike")
OVER = dataclasses.replace(SPIKE, status="resolved")
CRITICAL = dataclasses.replace(SPIKE, severity=Severity.CRITICAL)


def test_a_rule_is_told_once_a_severity() -> None:
    news = News()
    assert [news.is_new(f) for f in (SPIKE, SPIKE, OVER, SPIKE, CRITICAL, SPIKE)] == [1, 0, 0, 0, 1, 0]


def test_an_end_is_told_once_and_only_of_what_was_told() -> None:
    news = News()
    assert not news.is_over(OVER)
    news.is_new(SPIKE)
    assert [news.is_over(f) for f in (SPIKE, OVER, OVER)] == [False, True, False]


@pytest.mark.parametrize(
    ("dirty", "text"),
    [
        ("a\x1b[31mb\x1b[0m", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\b", "ab"),
        ("a\x9b31mb", "ab"),
        ("a\r\nb\tc", "a b c"),
        ("a\u202eb", "a b"),
        ("a\ud800b", "a b"),
        ("a[bold]b", "a[bold]b"),
        ("Größe µ", "Größe µ"),
    ],
)
def test_clean(dirty: str, text: str) -> None:
    assert clean(dirty) == text


@given(st.text(st.characters(), max_size=30))
def test_clean_text_can_be_printed_on_one_line(text: str) -> None:
    made = clean(text)
    made.encode()
    assert len(made.splitlines()) <= 1
    assert "\x1b" not in made


def test_places() -> None:
    assert places(()) == ""
    assert places(("a", "b")) == "a, b"
    assert places(("a\n", "b", "c"), 1) == "a  (+2)"
