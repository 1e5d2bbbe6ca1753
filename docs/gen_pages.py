"""Pages made at build time from the code, so that they can't disagree with it.

One page a rule from its detector's docstring, with a picture of its example and its scores on the zoo; one a monitor;
the tables of rules, keys and signals where a page asks for them with ``<!-- table: NAME -->``; the reference from
``lightning_diag.__all__``. MkDocs calls the ``on_*`` functions.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1]))  # the code of this very tree, installed or not

import lightning_diag
from docs import measured, monitor_pages
from docs.roles import plain
from docs.rule_pictures import picture
from lightning_diag._plugins import shipped
from lightning_diag.detectors.base import Detector
from lightning_diag.signals import SIGNALS, logged_keys
from lightning_diag.sinks._charts import SECTIONS

_SECTION = re.compile(r"^([A-Z][A-Za-z ]+):$")
_TITLES = {"Args": "Parameters and their limits"}
_MARK = re.compile(r"<!-- table: (\w+) -->")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the rules' pages to the navigation, by group."""
    pages = next(entry["Rules"] for entry in config.nav or [] if "Rules" in entry)
    for group, rules in groupby(shipped(), key=lambda cls: cls.rule.partition("/")[0]):
        pages.append({group: [{_name(cls): _path(cls)} for cls in rules]})
    monitors = next(entry["Monitors and keys"] for entry in config.nav or [] if "Monitors and keys" in entry)
    monitors += [{cls.__name__: f"monitors/{cls.__name__}.md"} for cls in monitor_pages.classes()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file."""
    for monitor in monitor_pages.classes():
        page = monitor_pages.monitor_page(monitor)
        files.append(File.generated(config, f"monitors/{monitor.__name__}.md", content=page))
    for cls in shipped():
        files.append(File.generated(config, _path(cls), content=rule_page(cls)))
    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put tables where a page asks for them."""
    return _MARK.sub(lambda mark: str(globals()[f"{mark[1]}_table"]()), markdown)


# ---------------------------------------------------------------------------------------------- rules


def rule_page(cls: type[Detector]) -> str:
    """Return the page of one rule."""
    lines = [
        f"# `{cls.rule}`",
        "",
        f"**{cls.title}**, code `{cls.code}`, at worst {cls.severity}. {_resolves(cls)}",
        "",
    ]
    lead, sections = split(inspect.cleandoc(cls.__doc__ or ""))
    lines += [prose(lead), "", picture(cls) or "No picture: its example measures nothing that could be drawn.", ""]
    for title, body in sections:
        lines += [f"## {_TITLES.get(title, title)}", "", _body(title, body, cls), ""]
        if title == "False alarms":
            lines += ["## Measured accuracy", "", measured.section(cls.rule, measured.load()), ""]
    return "\n".join(lines)


def split(docstring: str) -> tuple[str, list[tuple[str, str]]]:
    r"""Split a docstring into its lead and its sections (title, dedented body).

    >>> split("Lead.\n\nCatches:\n    This.\n    And that.")
    ('Lead.', [('Catches', 'This.\nAnd that.')])
    """
    lead: list[str] = []
    sections: list[tuple[str, list[str]]] = []
    for line in docstring.splitlines():
        head = _SECTION.match(line)
        if head:
            sections.append((head[1], []))
        else:
            (sections[-1][1] if sections else lead).append(line)
    return "\n".join(lead).strip(), [(title, inspect.cleandoc("\n" + "\n".join(body))) for title, body in sections]


def prose(text: str) -> str:
    """Return docstring prose as Markdown: roles and double backticks become code."""
    return plain(text).replace("``", "`")


def _body(title: str, body: str, cls: type[Detector]) -> str:
    if title == "Args":
        return _parameters(body, cls)
    if title in ("Examples", "Example"):
        return f"```pycon\n{body}\n```"
    return prose(body)


def _parameters(body: str, cls: type[Detector]) -> str:
    """A list of ``name (default): text`` from the lines of an Args section."""
    defaults = inspect.signature(cls.__init__).parameters
    items: list[list[str]] = []
    for line in body.splitlines():
        if line[:1].strip():
            name, _, text = line.partition(":")
            known = defaults.get(name)
            value = "" if known is None or known.default is inspect.Parameter.empty else f" = {known.default!r}"
            items.append([f"`{name}{value}`:{text}"])
        elif items:
            items[-1].append(line.strip())
    return "\n".join(f"- {prose(' '.join(item))}" for item in items)


def _resolves(cls: type[Detector]) -> str:
    if cls.resolve_after is None:
        return "It stays once it was found."
    return f"Resolved after {cls.resolve_after} evaluations without it."


def _name(cls: type[Detector]) -> str:
    return cls.rule.partition("/")[2]


def _path(cls: type[Detector]) -> str:
    return f"rules/{cls.rule}.md"


# ---------------------------------------------------------------------------------------------- tables


def rules_table() -> str:
    """Every shipped rule."""
    rows = ((cls.code, f"[`{cls.rule}`]({cls.rule}.md)", str(cls.severity), cls.title) for cls in shipped())
    return table(("code", "rule", "at worst", "finds"), rows)


def keys_table() -> str:
    """Every key that can leave to a logger."""
    rows = ((f"`{key}`", s.unit, s.merge, s.doc) for key, s in sorted(logged_keys().items()))
    return table(("key", "unit", "merge", "what it is"), rows)


def panels_table() -> str:
    """What W&B shows by default, in the reader's order."""
    rows = (
        (section.title, panel.title, panel.kind, " ".join(f"`{key}`" for key in panel.keys))
        for section in SECTIONS
        for panel in section.panels
    )
    return table(("section", "panel", "shown as", "keys"), rows)


def signals_table() -> str:
    """Every signal of the record."""
    rows = ((f"`{s.name}`", s.unit, s.axis or "scalar", s.merge, s.doc) for s in SIGNALS.values())
    return table(("signal", "unit", "axis", "merge", "what it is"), rows)


def curves_table() -> str:
    """Recall against severity and against false alarms, where they are measured."""
    return measured.curves(measured.load())


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    r"""Return a Markdown table.

    >>> table(["a", "b"], [["1", "x|y"]])
    '| a | b |\n| --- | --- |\n| 1 | x\\|y |'
    """
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


# ---------------------------------------------------------------------------------------------- reference


def reference() -> str:
    """Return the page of all public names."""
    names = [name for name in lightning_diag.__all__ if not name.startswith("__")]
    blocks = [f"::: {lightning_diag._HOMES[name]}.{name}" for name in names]
    return "\n\n".join(["# Reference", "Every public name; import it from `lightning_diag`.", *blocks, ""])
