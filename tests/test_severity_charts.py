"""Recall against severity and against false alarms on the accuracy page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from docs import gen_pages, measured
from docs.severity_charts import BOTTOM, TOP, chart

SVG = "{http://www.w3.org/2000/svg}"
MARK = "<!-- table: curves -->"


def point(severity: float, *counts: int) -> dict[str, float]:
    """One severity: harmful runs, found ever, on time, harmless runs, alarms on these, unclear."""
    keys = ("harmful", "hits", "on_time", "benign", "benign_alarms", "grey")
    return {"severity": severity, **dict(zip(keys, counts, strict=True))}


LR_DOWN = [point(0.3, 0, 0, 0, 4, 1, 2), point(0.03, 4, 3, 1, 0, 0, 0), point(0.001, 5, 5, 5, 0, 0, 0)]
SCORES: dict[str, Any] = {
    "set": "report",
    "date": "2026-11-27",
    "runs": {"healthy": 240, "benign": 96, "harmful": 199},
    "together": {"recall": [159, 199], "per_10k_steps": {"alarms": 0, "steps": 100_000, "rate": 0.0, "upper": 0.3689}},
    "rules": {
        "loss/spike": {
            "recall": [8, 10],
            "per_10k_steps": {"alarms": 1, "steps": 50_000, "rate": 0.2, "upper": 1.1143},
        },
        "loss/plateau": {"recall": [10, 10], "per_10k_steps": None},
        "data/leakage": {
            "recall": [0, 0],
            "per_10k_steps": {"alarms": 0, "steps": 80_000, "rate": 0.0, "upper": 0.4611},
        },
    },
    "severity": {
        "lr-down": LR_DOWN,
        "input-scale, up": [point(30, 1, 1, 1, 3, 0, 0), point(100, 0, 0, 0, 1, 0, 0)],
        "sign-flip": [point(1, 2, 1, 0, 0, 0, 0)],
        "not-in-optimizer": [point(0, 0, 0, 0, 2, 0, 0), point(-1, 1, 1, 1, 1, 0, 0)],
    },
}


def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: dict[str, Any]) -> str:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(scores), encoding="utf-8")
    monkeypatch.setattr(measured, "SCORES", path)
    return gen_pages.on_page_markdown(f"before\n\n{MARK}\n\nafter")


def test_marks_stand_at_the_share_of_runs_found() -> None:
    root = ElementTree.fromstring(chart("lr-down", LR_DOWN))
    height = BOTTOM - TOP
    rings = [(float(c.get("cx", 0)), float(c.get("cy", 0)), c.get("fill")) for c in root.iter(f"{SVG}circle")]
    discs = [(x, (BOTTOM - y) / height) for x, y, fill in rings if fill == "#0d86c9"]
    ever = [(x, (BOTTOM - y) / height) for x, y, fill in rings if fill != "#0d86c9"]
    assert [share for _, share in discs] == pytest.approx([0.25, 1.0], abs=0.01)
    assert [share for _, share in ever] == pytest.approx([0.75, 1.0], abs=0.01)
    diamonds = [p.get("d", "") for p in root.iter(f"{SVG}path")]
    assert len(diamonds) == 1
    x, top = (float(v) for v in re.findall(r"M([\d.]+) ([\d.]+)", diamonds[0])[0])
    assert (BOTTOM - top - 5.5) / height == pytest.approx(0.25, abs=0.01)
    assert x < discs[0][0] < discs[1][0]  # the harmless severity is the leftmost
    intervals = [line for line in root.iter(f"{SVG}line") if line.get("x1") == line.get("x2")]
    assert len(intervals) == 5  # one a mark


def test_a_chart_says_its_numbers_without_being_seen() -> None:
    root = ElementTree.fromstring(chart("lr-down", LR_DOWN))
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None and title.text == "lr-down: recall against severity"
    assert desc is not None and desc.text == (
        "Severity 0.3: alarms on 1 of 4 harmless runs, 2 unclear. "
        "Severity 0.03: of 4 harmful runs 1 found by the deadline and 3 ever. "
        "Severity 0.001: of 5 harmful runs 5 found by the deadline and 5 ever."
    )
    assert (root.get("role"), root.get("aria-labelledby"), root.get("aria-describedby")) == (
        "img",
        title.get("id"),
        desc.get("id"),
    )


def test_no_theme_swallows_a_chart() -> None:
    drawn = chart("lr-down", LR_DOWN)
    assert re.findall(r'(?:fill|stroke)="(?:black|white|#000|#fff)[^"]*"', drawn) == []
    assert "<svg" in drawn and 'fill="currentColor"' in drawn


def test_a_curve_is_not_drawn_over_a_severity_without_harmful_runs() -> None:
    def segments(points: list[dict[str, float]]) -> int:
        root = ElementTree.fromstring(chart("x", points))
        return sum(line.get("stroke-width") == "1.2" for line in root.iter(f"{SVG}line"))

    found, none = point(1, 1, 1, 1, 0, 0, 0), point(2, 0, 0, 0, 1, 0, 0)
    assert segments([found, found]) == 2
    assert segments([found, none, found]) == 0


def test_a_page_has_a_chart_a_ladder_and_a_table_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(tmp_path, monkeypatch, SCORES)
    assert text.index("before") < text.index("### Recall against severity") < text.index("after")
    assert "2026-11-27, on the runs kept back for the report" in text
    grid = next(line for line in text.splitlines() if line.startswith("<div"))  # a line break would end the block
    figures = ElementTree.fromstring(grid).findall("figure")
    assert [figure.findtext("figcaption/code") for figure in figures] == ["lr-down", "input-scale, up"]
    assert "Learning rate times severity." in "".join(figures[0].itertext())
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) == 4
    assert "| `sign-flip` | 1 | 0 of 2 | 1 of 2 |  |  |" in text
    assert "| `not-in-optimizer` | first layer |  |  | 0 of 2 |  |" in text
    assert "| `not-in-optimizer` | last layer | 1 of 1 | 1 of 1 | 0 of 1 |  |" in text


def test_a_rule_has_its_recall_beside_its_alarms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"<svg.*?</svg> |</?span[^>]*>", "", page(tmp_path, monkeypatch, SCORES))
    rows = text[text.index("| rule |") :].split("\n\n")[0].splitlines()
    assert rows[2:] == [
        "| all rules | 159 of 199 (74 to 85 %) | 0, at most 0.37 | 100,000 |",
        "| [`loss/plateau`](rules/loss/plateau.md) | 10 of 10 (72 to 100 %) | not judged | 0 |",
        "| [`loss/spike`](rules/loss/spike.md) | 8 of 10 (49 to 94 %) | 0.2, at most 1.1 | 50,000 |",
    ]
    assert "1 were judged on healthy runs, with 0 alarms in all; each at most 0.46 per 10,000 steps" in text


def test_a_fault_of_which_every_run_is_unclear_has_no_empty_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unclear = {"g-lr-up": [point(10, 0, 0, 0, 0, 0, 1), point(30, 0, 0, 0, 0, 0, 1)]}
    made = page(tmp_path, monkeypatch, {**SCORES, "severity": {**SCORES["severity"], **unclear}})
    assert made.count("<svg") == page(tmp_path, monkeypatch, SCORES).count("<svg")
    assert "g-lr-up" in made


@pytest.mark.parametrize("lacking", ["severity", "together"])
def test_older_scores_show_nothing(lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {key: value for key, value in SCORES.items() if key != lacking}
    assert page(tmp_path, monkeypatch, scores) == "before\n\n\n\nafter"


def test_the_accuracy_page_asks_for_them_below_the_report_set() -> None:
    text = (Path(__file__).parents[1] / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert (
        text.index("## Fault zoo, report set")
        < text.index(MARK)
        < text.index("### On the sets that limits were chosen on")
    )
