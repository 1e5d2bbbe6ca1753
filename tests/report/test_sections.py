"""What stands under which heading."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lightning_diag.reading import Facts, Reading
from lightning_diag.record import load
from lightning_diag.report.gather import Gathered, gather
from lightning_diag.report.sections import Section, sections
from tests.report import runs


def made(got: Gathered, budget: float | None = None) -> dict[str, Section]:
    columns = {signal: grid.columns() for signal, grid in got.grids.items()}
    return {section.id: section for section in sections(got, columns, (), budget)}


def titles(section: Section) -> list[str]:
    return [chart.title for chart in section.charts]


def test_a_full_run_has_all_its_sections_in_order(tmp_path: Path) -> None:
    record = load(runs.broken(tmp_path / "run"))
    found = made(gather(record.readings(), record.facts), 0.01)
    assert list(found) == ["loss", "layers", "classes", "cost"]
    assert titles(found["loss"]) == ["Loss", "Learning rate", "Gradient norm", "Accuracy"]
    assert titles(found["layers"]) == ["Gradient norm", "Update-to-weight ratio", "Share of dead units"]
    assert [chart.title for chart in found["layers"].more] == ["Weight norm"]
    assert titles(found["classes"]) == ["Recall on validation"]
    assert found["classes"].tables[0].rows[0][:2] == ["horse", "plane"]
    overhead = found["cost"].charts[0]
    assert (overhead.title, getattr(overhead, "limits", None)) == ("Overhead of the diagnostics", [(0.01, "budget")])


def test_an_empty_run_has_none() -> None:
    assert made(Gathered()) == {}


def test_the_norm_after_clipping_is_drawn_only_where_something_clips() -> None:
    reading = Reading(1, 0, {"grad/norm": 2.0, "grad/norm_after_clip": 1.0})
    for clip, lines in ((None, 1), (1.0, 2)):
        chart = made(gather([reading], Facts(clip_val=clip)))["loss"].charts[0]
        assert len(getattr(chart, "tables")) == lines  # noqa: B009 - a heat map has none
        assert getattr(chart, "limits") == ([(1.0, "clipping limit")] if clip else [])  # noqa: B009


def test_what_only_detectors_need_is_left_out_and_strangers_are_shown() -> None:
    values = {"chance/smoothing": 0.1, "val/samples": 9.0, "mine/flow": 1.0, "class/support": np.ones(3)}
    found = made(gather([Reading(1, 0, values)], Facts()))
    assert [chart.title for chart in found["other"].more] == ["Mine flow"]
    assert [chart.title for chart in found["classes"].more] == ["Share of the validation samples"]


def sampled(steps: int, every: int, until: int) -> Gathered:
    """Losses of every step, a sample now and then until some step."""
    sample = {"accuracy/train": 0.5, "accuracy/val": 0.6, "system/interval_steps": every, "system/overhead_frac": 0.05}
    return gather(
        [
            Reading(i, 0, {"loss/train": 1.0} | (sample if i <= until and i % every == 1 else {}))
            for i in range(1, steps + 1)
        ],
        Facts(),
    )


def test_where_lines_end_early_and_cost_is_over_budget_a_note_says_why() -> None:
    early = made(sampled(200, 10, 100), 0.01)
    assert "After step 91 only losses and validation were taken" in early["loss"].note
    assert "The first samples come before their cost is known" in early["cost"].note
    whole = made(sampled(200, 10, 200), 0.1)
    assert "After step" not in whole["loss"].note and "before their cost" not in whole["cost"].note


def test_a_running_mean_is_drawn_once_it_has_forgotten_its_start() -> None:
    for every, lines in ((20, 1), (5, 2)):
        chart = made(sampled(200, every, 200))["loss"].charts[-1]
        assert chart.title == "Accuracy" and len(getattr(chart, "tables")) == lines  # noqa: B009
