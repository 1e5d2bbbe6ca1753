"""Domains: a line each, with a band."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.reading import Facts, Reading
from lightning_diag.report.domains import domain_charts
from lightning_diag.report.gather import gather
from lightning_diag.report.sections import sections
from lightning_diag.signals import SIGNALS, Signal


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("domain/mine", "domain/mine_se", "domain/other_error"):
        monkeypatch.setitem(SIGNALS, name, Signal(name, "1", "domain", "mean", (), "a thing per domain"))


def test_each_domain_is_a_line_with_a_band_of_two_standard_errors() -> None:
    readings = [
        Reading(1, 0, {"domain/mine": np.array([1.0, 3.0, np.nan]), "domain/mine_se": np.array([0.1, 0.2, np.nan])}),
        Reading(2, 0, {"domain/mine": np.array([2.0, np.nan, np.nan]), "domain/mine_se": np.array([0.1, 0.0, 0.0])}),
        Reading(3, 0, {"domain/other_error": np.array([0.5, 0.25]), "domain/mmd": np.array([np.nan, np.nan])}),
    ]
    got = gather(readings, Facts(names={"domain": ("real", "synthetic", "never")}))
    columns = {signal: grid.columns() for signal, grid in got.grids.items()}
    mine, other = domain_charts(got, columns)
    ((steps, lines),) = mine.tables
    assert steps.tolist() == [1.0, 2.0]
    assert [(line.label, line.look, line.color) for line in lines] == [
        ("real", "band", 0), ("real", "dots", 0), ("synthetic", "band", 1), ("synthetic", "dots", 1),
    ]  # fmt: skip
    assert lines[0].low is not None
    np.testing.assert_allclose(lines[0].low, [0.8, 1.8])
    np.testing.assert_allclose(lines[0].values, [1.2, 2.2])
    assert "real: 2 at step 2. synthetic: 3 at step 1." in mine.caption
    assert other.percent
    assert "real: 50 % at step 3." in other.caption
    assert [s.id for s in sections(got, columns, ())] == ["domains"]
