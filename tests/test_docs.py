"""What people read agrees with the code: imports in examples, rule pages, the version in the changelog."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

import lightning_diag
from docs import gen_pages, measured
from lightning_diag._plugins import shipped
from lightning_diag.detectors.base import Detector
from tests.test_severity_charts import SCORES

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_python_blocks_parse_and_import_what_is_there(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []


@pytest.mark.parametrize("cls", shipped(), ids=lambda cls: cls.rule)
def test_a_rule_has_a_page_with_its_limits_and_no_blank_to_fill(cls: type[Detector]) -> None:
    page = gen_pages.rule_page(cls)
    assert page.startswith(f"# `{cls.rule}`\n")
    assert [
        part for part in ("Catches", "Formula", "Reads", "False alarms", "References") if f"\n## {part}\n" not in page
    ] == []
    for name, default in cls().parameters().items():
        assert f"- `{name} = {default!r}`: " in page
    assert re.findall(r"\b(?:TODO|TBD|[A-Z]+_[A-Z_]+)\b", page) == []
    assert "``" not in page.replace("```", "")


def test_every_mark_of_a_table_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {mark for page in PAGES for mark in re.findall(r"<!-- table: (\w+) -->", page.read_text(encoding="utf-8"))}
    assert marks == {"rules", "keys", "panels", "signals", "curves"}
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps(SCORES), encoding="utf-8")
    monkeypatch.setattr(measured, "SCORES", scores)
    for mark in marks:
        assert len(gen_pages.on_page_markdown(f"<!-- table: {mark} -->").splitlines()) > 5


def test_the_readme_names_the_groups_of_rules_there_are() -> None:
    named = re.findall(r"^\| `([a-z]+)/` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted({cls.rule.partition("/")[0] for cls in shipped()})


def test_the_newest_version_in_the_changelog_is_this_one() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)[0] == lightning_diag.__version__
