"""The panels against the tables they are made of."""

from __future__ import annotations

from collections import Counter

from lightning_diag.signals import logged_keys
from lightning_diag.sinks._charts import MAX_PANELS, MEDIA, SECTIONS, SHOWN

MAX_KEYS = 60  # what a run may log, whatever the model


def test_keys_are_few_whatever_is_measured() -> None:
    assert len(logged_keys()) <= MAX_KEYS


def test_what_is_shown_is_little_and_is_logged() -> None:
    assert len(SHOWN) <= MAX_PANELS, "without a workspace each key that isn't hidden makes a panel"
    assert logged_keys().keys() >= SHOWN - MEDIA


def test_a_key_stands_in_one_panel_and_a_title_once() -> None:
    panels = [panel for section in SECTIONS for panel in section.panels]
    for names in ([key for panel in panels for key in panel.keys], [panel.title for panel in panels]):
        assert max(Counter(names).values()) == 1
    assert len({section.title for section in SECTIONS}) == len(SECTIONS)
    assert all(len(panel.keys) == 1 for panel in panels if panel.kind != "line")
