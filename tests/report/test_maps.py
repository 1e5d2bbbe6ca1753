"""Which arrays become heat maps."""

from __future__ import annotations

import numpy as np

from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.report.cards import finding_card
from lightning_diag.report.gather import gather
from lightning_diag.report.maps import heat_maps, telling

NAMES = ("a.weight", "a.bias", "b.weight")


def test_marks_stand_on_the_rows_a_finding_names_in_the_map_that_shows_it() -> None:
    values = {"grad/parameter_norm": np.ones(3), "update/parameter_ratio": np.array([np.nan, 1.0, 1.0])}
    got = gather([Reading(1, 0, values), Reading(2, 0, values)], Facts(names={"parameter": NAMES}))
    columns = {signal: grid.columns() for signal, grid in got.grids.items()}
    finding = Finding("updates/too-large", Severity.WARNING, 2, 0, ("b.weight", "a.weight"), "m")
    note = Finding("updates/too-small", Severity.INFO, 2, 0, ("b.weight",), "m")
    cards = [finding_card(finding, 1, got), finding_card(note, 2, got)]
    maps = heat_maps(list(columns), got, columns, cards)
    assert maps["grad/parameter_norm"].marks == []
    ratio = maps["update/parameter_ratio"]
    assert ratio.index.tolist() == [1, 2]  # a.weight has no ratio
    assert [(mark["n"], mark["rows"]) for mark in ratio.marks] == [(1, [1])]


def test_missing_gradients_are_shown_only_where_some_are() -> None:
    for missing, shown in ((0.0, False), (1.0, True)):
        got = gather([Reading(1, 0, {"grad/missing": np.array([0.0, missing])})], Facts())
        assert telling("grad/missing", got.grids["grad/missing"].columns()) is shown


def test_all_maps_together_are_bounded() -> None:
    readings = [
        Reading(s, 0, {f"activation/{i}": np.random.default_rng(s).random(300) for i in range(30)}) for s in range(200)
    ]
    got = gather(readings, Facts())
    columns = {signal: grid.columns() for signal, grid in got.grids.items()}
    maps = heat_maps(list(columns), got, columns, ())
    assert sum(one.codes.size for one in maps.values()) <= 1_700_000
