"""The page as a file: whole, self-contained, and safe whatever stands in the record."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lightning_diag.errors import RecordError
from lightning_diag.report import write
from lightning_diag.report.page import OWN_SCRIPTS, asset, render
from tests.report import runs

ASSETS = Path(sys.modules[write.__module__].__file__ or "").parent / "assets"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_data(self, data: str) -> None:
        if self._open in self.inside:
            self.inside[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


@pytest.mark.parametrize("name", ["healthy", "broken", "empty", "hostile", "running"])
def test_nothing_is_fetched_and_nothing_runs_but_our_own(reports: dict[str, Path], name: str) -> None:
    page = Elements(reports[name].read_text(encoding="utf-8"))
    counts = {
        tag: sum(1 for t, _ in page.tags if t == tag) for tag in ("script", "style", "link", "img", "iframe", "base")
    }
    assert counts == {"script": 2 + len(OWN_SCRIPTS), "style": 2, "link": 0, "img": 0, "iframe": 0, "base": 0}
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "style", "action", "data-src"} & set(attributes), tag
        assert not [key for key in attributes if key.startswith("on")], tag
        assert (attributes.get("href") or "#").startswith("#"), tag


def test_the_policy_names_the_hash_of_every_script_and_style(reports: dict[str, Path]) -> None:
    page = Elements(reports["hostile"].read_text(encoding="utf-8"))
    policy = next(a["content"] or "" for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for text in (*page.inside["script"][1:], *page.inside["style"]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_the_data_is_json_and_cannot_close_its_element(reports: dict[str, Path]) -> None:
    page = Elements(reports["hostile"].read_text(encoding="utf-8"))
    text = page.inside["script"][0]
    assert not set(text) & set("<>&\u2028")
    data = json.loads(text)
    assert runs.HOSTILE[0] in data["names"]["parameter"]
    assert all(len(name) <= 200 for names in data["names"].values() for name in names)


def test_the_verdict_stands_at_the_top_as_text(reports: dict[str, Path]) -> None:
    page = reports["broken"].read_text(encoding="utf-8")
    body = page[page.index("<body>") :]
    assert body.index("The learning rate is too high") < body.index("updates/too-large") < body.index('id="charts"')
    assert "<title>The learning rate is too high · resnet-lr3e-1</title>" in page


def test_backticks_become_code_and_nothing_else(reports: dict[str, Path]) -> None:
    page = reports["broken"].read_text(encoding="utf-8")
    assert "Look at <code>trainer.optimizers[0]</code>." in page
    hostile = reports["hostile"].read_text(encoding="utf-8")
    assert "<code>&lt;/script&gt;&lt;script&gt;window.pwned=1&lt;/script&gt;</code>" in hostile


def test_every_asset_is_used_and_both_dark_palettes_agree() -> None:
    used = {"template.html", "style.css", *OWN_SCRIPTS}
    assert {path.name for path in ASSETS.iterdir() if path.is_file()} == used
    assert (ASSETS / "vendor/uPlot.LICENSE.txt").read_text().startswith("The MIT License")
    dark = re.findall(r"\{\n((?:  --.*\n)+)\} ?", asset("style.css").replace("  color-scheme: dark;\n", ""))
    assert len(dark) == 2
    assert dark[0] == dark[1]


def test_the_default_place_is_the_run_directory_and_nothing_else_is_left_there(tmp_path: Path) -> None:
    run_dir = runs.healthy(tmp_path / "run")
    before = {path.name for path in run_dir.iterdir()}
    assert write(str(run_dir)) == run_dir / "report.html"
    assert {path.name for path in run_dir.iterdir()} == before | {"report.html"}
    other = write(run_dir, tmp_path / "elsewhere.html")
    assert other.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_record_that_is_none_and_a_place_that_cannot_be_written_are_record_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="not a run record"):
        write(tmp_path)
    run_dir = runs.empty(tmp_path / "run")
    with pytest.raises(RecordError, match="can't be written"):
        write(run_dir, tmp_path / "missing" / "report.html")
    (run_dir / "report.html").mkdir()
    with pytest.raises(RecordError, match="can't be written"):
        write(run_dir)
    assert [path.name for path in run_dir.glob(".*")] == []


def test_an_old_report_stays_when_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = runs.empty(tmp_path / "run")
    old = write(run_dir).read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(RecordError, match="disk full"):
        write(run_dir)
    assert (run_dir / "report.html").read_bytes() == old


def test_the_page_is_the_same_for_the_same_record(tmp_path: Path) -> None:
    run_dir = runs.broken(tmp_path / "run")
    first, second = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", render(run_dir)) for _ in range(2))
    assert first == second


def test_a_report_needs_no_torch() -> None:
    script = "import sys, lightning_diag.report; print({'torch', 'lightning', 'wandb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
