"""The generated pages: pictures of rules, measured accuracy, one page a monitor."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from docs import gen_pages, measured, monitor_pages
from docs.rule_pictures import picture, run_example
from docs.svg import RIGHT, TOP, WIDTH, bars, lines
from lightning_diag._plugins import shipped
from lightning_diag.detectors import LossNonFinite, LossSpike
from lightning_diag.detectors.base import Detector
from lightning_diag.monitors import Monitor
from lightning_diag.report.charts import Chart, Line

ROOT = Path(__file__).parents[1]
# nothing is drawn where measured value and limit are both zero
NOT_DRAWN = {"system/rank-divergence"}
SCORES: dict[str, Any] = {
    "set": "report",
    "date": "2026-11-27",
    "runs": {"healthy": 128, "benign": 93, "harmful": 205},
    "rules": {
        "loss/spike": {"healthy": [1, 128], "benign": [2, 93], "recall": [30, 40], "delay": 0.26},
        "data/leakage": {"healthy": [0, 128], "benign": [0, 93], "recall": [0, 0], "delay": None},
    },
}


@pytest.mark.parametrize("cls", shipped(), ids=lambda cls: cls.rule)
def test_a_rule_page_shows_the_example_where_it_fires(cls: type[Detector]) -> None:
    figure = picture(cls)
    if cls.rule in NOT_DRAWN:
        assert figure == ""
        return
    ElementTree.fromstring(figure)
    assert "\n" not in figure  # a blank line would end the HTML block
    step = run_example(cls).findings[0][0]
    assert f" at step {step:,}" in figure
    assert figure in gen_pages.rule_page(cls)
    assert re.findall(r"(?:href|src|url)\b|https?://(?!www\.w3\.org/2000/svg)", figure) == []
    assert set(re.findall(r'fill="(?:black|white|#000|#fff)[^"]*"', figure)) == set()  # one theme would swallow it


def test_the_mark_stands_where_it_fired() -> None:
    example = run_example(LossSpike)
    assert example.findings[0][0] == 201
    assert 295 <= len(example.readings) <= 300
    assert 'stroke-dasharray="2 3"' in picture(LossSpike)


def test_steps_that_are_not_finite_are_drawn() -> None:
    assert picture(LossNonFinite).count("<title>not finite</title>") > 1


def test_curves_have_limit_mark_and_gaps() -> None:
    steps = np.arange(1.0, 6.0)
    chart = Chart(
        "a <b>", "", [(steps, [Line("one", np.array([1.0, 2.0, np.nan, 2.0, 3.0]))])], limits=[(2.5, "limit")]
    )
    drawn = lines(chart, [(5, "warning")])
    root = ElementTree.fromstring(drawn)
    assert root.get("aria-label") == "a <b>"
    path = root.find("{http://www.w3.org/2000/svg}path")
    assert path is not None
    assert path.get("d", "").count("M") == 2  # the pen is lifted over NaN
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "limit 2.5" in texts
    assert "warning" in texts
    marks = [line for line in root.iter("{http://www.w3.org/2000/svg}line") if line.get("stroke-dasharray") == "2 3"]
    assert [(mark.get("x1"), mark.get("y1")) for mark in marks] == [(str(WIDTH - RIGHT), str(TOP))]


def test_bars_are_as_long_as_their_values() -> None:
    root = ElementTree.fromstring(bars({"value": 4.0, "limit": 1.0}))
    long, short = (float(bar.get("width", 0)) for bar in root.iter("{http://www.w3.org/2000/svg}rect"))
    assert long / short == pytest.approx(4, rel=0.01)


def test_scores_become_a_table_with_intervals() -> None:
    text = measured.section("loss/spike", SCORES)
    assert "| alarms on healthy runs | 1 of 128 | 0 to 4 % |" in text
    assert "| found, of harmful runs in which it is expected | 30 of 40 | 60 to 86 % |" in text
    assert "| median time to the alarm | 26 % of the run | |" in text
    assert "2026-11-27, on the runs kept back for the report" in text


@pytest.mark.parametrize(("rule", "alarms"), [("data/leakage", True), ("system/straggler", False)])
def test_a_rule_no_run_can_show_says_so(rule: str, alarms: bool) -> None:
    text = measured.section(rule, SCORES)
    assert text.startswith("Not scored: no run of the zoo can show it.")
    assert ("| alarms on healthy runs | 0 of 128 | 0 to 3 % |" in text) is alarms
    assert "found, of" not in text


def test_without_scores_the_pages_are_built_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "SCORES", tmp_path / "none.json")
    assert measured.load() is None
    assert "Not measured on the fault zoo yet" in gen_pages.rule_page(LossSpike)


def test_scores_in_a_file_are_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(SCORES), encoding="utf-8")
    monkeypatch.setattr(measured, "SCORES", path)
    page = gen_pages.rule_page(LossSpike)
    assert page.index("## False alarms") < page.index("## Measured accuracy") < page.index("30 of 40")


def test_committed_scores_name_rules_there_are() -> None:
    scores = measured.load()
    if scores is not None:
        assert set(scores["rules"]) <= {cls.rule for cls in shipped()}


@pytest.mark.parametrize("cls", monitor_pages.classes(), ids=lambda cls: cls.__name__)
def test_a_monitor_page_has_signals_keys_and_every_rule(cls: type[Monitor]) -> None:
    page = monitor_pages.monitor_page(cls)
    assert monitor_pages.own_signals(cls)
    for signal in monitor_pages.own_signals(cls):
        assert f"| `{signal.name}` |" in page
        assert all(f"`{key}`" in page for key in monitor_pages.keys_of(signal))
    for detector in monitor_pages.made(cls).parts().detectors:
        assert f"(../rules/{detector.rule}.md)" in page
    assert f"(monitors/{cls.__name__}.md)" in (ROOT / "docs" / "monitors.md").read_text(encoding="utf-8")


def test_every_rule_is_on_the_page_of_a_monitor() -> None:
    on = {d.rule for cls in monitor_pages.classes() for d in monitor_pages.made(cls).parts().detectors}
    assert on == {cls.rule for cls in shipped()}


def test_the_pictures_of_the_readme_are_small_and_there() -> None:
    named = re.findall(r"!\[[^\]]+\]\((docs/images/[^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {"docs/images/report.png", "docs/images/watch.svg"} <= set(named)
    assert sum((ROOT / path).stat().st_size for path in named) < 300_000
