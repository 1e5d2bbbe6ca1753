"""The report in a real Chromium: it opens without an error, draws, answers the hand, and lets nobody in or out."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lightning_diag.report import write
from tests.report import runs

SMALL = ("healthy", "broken", "empty", "hostile", "running", "accepted")
BLANK = """figures => figures.filter(f => !f.closest('details:not([open])')).filter(f => {
  const canvas = f.querySelector('.plot-body canvas');
  if (!canvas || f.dataset.drawn !== 'yes') return true;
  const pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(pixels).size < 4;
}).map(f => f.querySelector('.plot-title').textContent)"""

PIXEL = """(canvas, [x, y]) => {
  const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1];
  return `rgb(${canvas.getContext('2d').getImageData(...at).data.slice(0, 3).join(', ')})`;
}"""

# in the part of the canvas that is the plot itself
LIT = """(canvas, share) => {
  const over = canvas.parentElement.querySelector('.u-over').getBoundingClientRect();
  const all = canvas.getBoundingClientRect(), ratio = canvas.width / all.width;
  const x = Math.round((over.left - all.left + share * over.width) * ratio), height = Math.floor(over.height * ratio);
  const top = Math.ceil((over.top - all.top) * ratio), copy = document.createElement('canvas');
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  let best = 0;
  for (let at = x - 4; at <= x + 4; at += 1) {
    const data = context.getImageData(at, top, 1, height).data;
    let lit = 0;
    for (let k = 3; k < data.length; k += 4) lit += data[k] > 60;
    best = Math.max(best, lit / height);
  }
  return best;
}"""
CARD_WITHOUT_PLOT = "article.finding:not(.info):not(:has(figure[data-drawn=yes]))"


@contextmanager
def opened(browser: Any, path: Path, **options: Any) -> Iterator[Any]:
    """A page that must not complain and must not ask for anything but its own file."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("request", lambda request: trouble.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    if options.get("java_script_enabled", True):
        page.wait_for_selector("html[data-ready=yes]", state="attached")
    yield page
    context.close()
    assert trouble == []


def text(page: Any, selector: str) -> str:
    return str(page.inner_text(selector))


def hover(page: Any, selector: str, x: float = 0.5, y: float = 0.5) -> None:
    """Point at a share of an element's width and height."""
    element = page.locator(selector).first
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something; the page's policy forbids playwright's own way, which evaluates strings in the page."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("name", SMALL)
def test_opens_without_error_and_request_and_draws_every_plot(
    browser: Any, reports: dict[str, Path], name: str
) -> None:
    with opened(browser, reports[name]) as page:
        assert page.eval_on_selector_all("figure[data-chart]", BLANK) == []
        drawn = page.locator("figure[data-drawn=yes]").count()
        assert drawn == 0 if name == "empty" else drawn >= 6
        # of the hostile run one finding has a rule and a place that nobody measured
        assert page.locator(CARD_WITHOUT_PLOT).count() == (name == "hostile")


@pytest.mark.parametrize("width", [1280, 480, 390])
@pytest.mark.parametrize("name", ["broken", "hostile"])
def test_nothing_is_wider_than_the_window_nor_a_cell_a_letter_wide(
    browser: Any, reports: dict[str, Path], name: str, width: int
) -> None:
    with opened(browser, reports[name]) as page:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cells = page.eval_on_selector_all("table.plain td", "cells => cells.map((cell) => cell.offsetWidth)")
        assert min(cells) >= 60


def test_hostile_names_stay_text(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["hostile"]) as page:
        page.wait_for_timeout(200)
        assert page.evaluate("window.pwned") is None
        assert page.locator("img, svg[onload], iframe, [onerror]").count() == 0
        shown = page.evaluate("document.body.innerText")
        assert runs.HOSTILE[0] in shown
        assert "{{ 7 * 7 }}" in shown
        assert not set(shown) & {"\x1b", "\u202e", "\u202c"}
        assert "x" * 2_000 not in shown


def test_a_run_in_progress_says_its_step_and_how_old_the_page_is(
    browser: Any, reports: dict[str, Path], tmp_path: Path
) -> None:
    with opened(browser, reports["running"]) as page:
        assert text(page, ".run").endswith("run in progress step 300 of 1,000, epoch 9")
        assert text(page, ".banner").startswith("Run in progress, step 300 of 1,000")
    for age, told in (
        (timedelta(), ""),
        (timedelta(hours=5, minutes=1), "This page is 5 hours old: either nothing new"),
    ):
        then = (datetime.now(timezone.utc) - age).isoformat()
        aged = re.sub('data-written="[^"]*"', f'data-written="{then}"', reports["running"].read_text(encoding="utf-8"))
        (tmp_path / "aged.html").write_text(aged, encoding="utf-8")
        with opened(browser, tmp_path / "aged.html") as page:
            assert (told in text(page, ".banner")) and (("old" in text(page, ".banner")) == bool(told))


def test_what_is_accepted_stands_apart_with_its_reason(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["accepted"]) as page:
        assert "2 findings accepted and left out" in text(page, ".checks")
        table = text(page, "#accepted table")
        assert "activations/dead" in table and runs.HOSTILE[0] in table and "since step" in table
        assert page.evaluate("window.pwned") is None
        assert page.locator("#loss a.flag").count() == 4
        page.click("#coverage a.check.accepted >> nth=0")
        assert page.url.endswith("#accepted")


def test_hovering_a_card_shows_step_and_values(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"]) as page:
        hover(page, "#finding-1 .u-over")
        tip = text(page, "#tip")
        assert tip.startswith("Step ")
        assert "net.0.weight" in tip
        page.mouse.move(0, 0)
        assert page.locator("#tip").is_hidden()


def test_hovering_a_heat_map_names_the_row_and_moves_the_cursor_of_the_others(
    browser: Any, reports: dict[str, Path]
) -> None:
    with opened(browser, reports["broken"]) as page:
        hover(page, "#layers .plot-body canvas", 0.6, 0.02)
        assert "net.0.weight" in text(page, "#tip")
        assert "about " in text(page, "#tip")
        swatch = page.eval_on_selector("#tip i", "i => i.style.background")
        assert page.eval_on_selector("#layers .plot-body canvas", PIXEL, [0.6, 0.02]) == swatch
        left = page.eval_on_selector("#loss .u-cursor-x", "e => e.getBoundingClientRect().left")
        assert left > 300


def test_a_legend_button_hides_its_line(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"]) as page:
        key = page.locator("#finding-1 .legend button", has_text="net.0.bias")
        image = "document.querySelector('#finding-1 canvas').toDataURL()"
        before = page.evaluate(image)
        key.click()
        until(lambda: page.evaluate(image) != before)
        assert key.get_attribute("aria-pressed") == "false"
        hover(page, "#finding-1 .u-over")
        assert "net.0.bias" not in text(page, "#tip")
        assert "net.0.weight" in text(page, "#tip")


def test_findings_can_be_switched_off_and_a_flag_leads_to_its_card(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"]) as page:
        flags = page.locator("#loss a.flag")
        assert flags.count() == 6
        flags.first.click()
        assert page.url.endswith(flags.first.get_attribute("href"))
        page.click("button[data-do=marks]")
        until(lambda: flags.count() == 0)


def test_dragging_zooms_all_charts_and_the_whole_run_comes_back(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"]) as page:
        whole = text(page, "#range")
        before = page.evaluate("document.querySelector('#layers .plot-body canvas').toDataURL()")
        hover(page, "#loss .u-over", 0.4)
        page.mouse.down()
        hover(page, "#loss .u-over", 0.6)
        page.mouse.up()
        first, last = (int(word.replace(",", "")) for word in text(page, "#range").split()[1::2])
        assert 750 < first < 850
        assert 1150 < last < 1250
        assert page.evaluate("document.querySelector('#layers .plot-body canvas').toDataURL()") != before
        page.click("button[data-do=reset]")
        assert text(page, "#range") == whole


def test_the_keyboard_reaches_a_plot_and_reads_it_aloud(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"]) as page:
        for selector, word in (("#finding-1 .plot-body", "net.0.weight"), ("#layers .plot-body", "about")):
            page.locator(selector).first.focus()
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowRight")
            until(lambda: word in page.text_content("#say"))  # noqa: B023 - called at once
            page.keyboard.press("Escape")
        page.locator("#loss .plot-body").first.focus()
        whole = text(page, "#range")
        page.keyboard.press("+")
        assert text(page, "#range") != whole
        page.keyboard.press("0")
        assert text(page, "#range") == whole


def test_rows_can_be_filtered_and_shown_as_change(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"]) as page:
        figure = page.locator("#layers figure").first
        height = figure.locator(".plot-body canvas").first.bounding_box()["height"]
        image = "document.querySelector('#layers .plot-body canvas').toDataURL()"
        before = page.evaluate(image)
        figure.locator("button", has_text="change over time").click()
        assert page.evaluate(image) != before
        figure.locator("input").fill("net.0.")
        assert figure.locator(".plot-body canvas").first.bounding_box()["height"] < height / 2


def test_the_theme_follows_the_system_and_the_button(browser: Any, reports: dict[str, Path]) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, reports["healthy"], color_scheme="dark") as page:
        dark = page.evaluate(ground)
        page.click("#theme")
        light = page.evaluate(ground)
        assert (text(page, "#theme"), dark != light) == ("Theme: light", True)
        page.click("#theme")
        assert page.evaluate(ground) == dark
    with opened(browser, reports["healthy"], color_scheme="light") as page:
        assert page.evaluate(ground) == light


def test_printing_is_light_and_opens_what_is_folded(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"], color_scheme="dark") as page:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        assert page.locator(".chips details:not([open])").count() == 0
        page.emulate_media(media="print")
        assert not page.is_visible(".more-charts"), "nobody asked for it"
        page.emulate_media(media="screen")
        assert page.eval_on_selector_all("figure[data-chart]", BLANK) == []
        assert len(page.pdf()) > 50_000


def test_without_scripts_verdict_cards_and_numbers_are_there(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["broken"], java_script_enabled=False) as page:
        shown = text(page, "main")
        assert "The learning rate is too high" in shown
        assert "Repeat the first 200 steps with a tenth of the learning rate" in shown
        assert "Charts need JavaScript" in shown
        assert "lowest" in text(page, "#loss figcaption >> nth=0")


def axe_source() -> str | None:
    """Text of axe-core: from LIGHTNING_DIAG_AXE, or a node_modules folder above this file."""
    above = [folder / "node_modules/axe-core/axe.min.js" for folder in Path(__file__).resolve().parents]
    named = os.environ.get("LIGHTNING_DIAG_AXE")
    found = [path for path in ([Path(named)] if named else above) if path.is_file()]
    return found[0].read_text(encoding="utf-8") if found else None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SMALL)
def test_axe_finds_nothing(browser: Any, reports: dict[str, Path], name: str, scheme: str) -> None:
    source = axe_source()
    if source is None:
        pytest.skip("axe-core is neither in node_modules (npm install axe-core) nor named by LIGHTNING_DIAG_AXE")
    with opened(browser, reports[name], color_scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.evaluate(source)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(v["id"], v["nodes"][0]["html"]) for v in result["violations"]] == []


@pytest.mark.slow
def test_a_huge_run_is_small_opens_fast_and_shows_its_spike(browser: Any, tmp_path: Path) -> None:
    report = write(runs.huge(tmp_path / "huge"))
    assert report.stat().st_size < 6_000_000
    assert spike_in_data(report) == (33_333, 55.5)
    with opened(browser, report) as page:
        assert worked_s(page) < 2.0
        assert page.eval_on_selector_all("figure[data-chart]", BLANK) == []
        assert page.locator(CARD_WITHOUT_PLOT).count() == 0
        for selector, words in (("#loss .u-over", "Training loss"), ("#layers .plot-body canvas", "about ")):
            hover(page, selector)
            until(lambda: words in text(page, "#tip"))  # noqa: B023 - called at once
        flags = page.locator("#loss a.flag")
        assert flags.count() == 3
        page.click("button[data-do=marks]")
        until(lambda: flags.count() == 0)
        assert lit_column(page, "#loss canvas", 0.333) > 0.9 > 0.3 > lit_column(page, "#loss canvas", 0.5)


def worked_s(page: Any) -> float:
    """Processor seconds that the page's process took so far: what a clock says depends on who else is at work."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    return float({m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}["ProcessTime"])


def spike_in_data(report: Path) -> tuple[float, float]:
    """Step and value of the highest training loss that the page holds."""
    data = json.loads(report.read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0])
    loss = next(chart for chart in data["charts"] if chart["title"] == "Loss")
    table = loss["tables"][0]
    return max(zip(table["x"], table["lines"][0]["y"], strict=True), key=lambda point: point[1] or 0.0)


def lit_column(page: Any, selector: str, share: float) -> float:
    """Largest share of a plot's height that one column of pixels near a share of its width is drawn over."""
    return float(page.eval_on_selector(selector, LIT, share))
