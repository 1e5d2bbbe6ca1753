"""The page itself: a record in, one self-contained HTML file out."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from contextlib import suppress
from datetime import datetime, timezone
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from lightning_diag.errors import RecordError
from lightning_diag.record import load
from lightning_diag.report.accepted import Accepted, nothing
from lightning_diag.report.content import content

SHEETS = ("vendor/uPlot.min.css", "style.css")
# in this order
OWN_SCRIPTS = ("theme.js", "timeline.js", "marks.js", "lines.js", "cells.js", "heat.js", "age.js", "main.js")
SCRIPTS = ("vendor/uPlot.iife.min.js", *OWN_SCRIPTS)
NAME = "report.html"


def write(
    run_dir: str | os.PathLike[str], path: str | os.PathLike[str] | None = None, accepted: Accepted = nothing
) -> Path:
    """Write the report of a run record and return where it is.

    Works from the record alone, also while the run goes on or after it was killed. The file needs no network and no
    server; it is replaced as a whole, so a browser never sees half of it.

    Args:
        run_dir: the run directory.
        path: where to write; ``report.html`` in the run directory by default.
        accepted: finding -> why it is no trouble, or None; what is accepted is listed apart with its reason.

    Raises:
        RecordError: the record can't be read, or the file can't be written.
    """
    target = Path(run_dir) / NAME if path is None else Path(path)
    page = render(run_dir, accepted)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(page, encoding="utf-8", errors="replace")
        part.replace(target)
    except OSError as error:
        raise RecordError(f"{target} can't be written: {error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)  # also where somebody ends the process
    return target


def render(run_dir: str | os.PathLike[str], accepted: Accepted = nothing) -> str:
    """Return the report as HTML; see :func:`write`."""
    view = content(load(run_dir), datetime.now(timezone.utc), accepted)
    sheets = [Markup(asset(name)) for name in SHEETS]
    scripts = [Markup(asset(name)) for name in SCRIPTS]
    data = Markup(embed(view.pop("data")))  # embed() leaves nothing that could close the element
    policy = _policy([str(s) for s in sheets], [str(s) for s in scripts])
    page: str = _template().render(**view, sheets=sheets, scripts=scripts, data=data, policy=policy)
    return page


def embed(data: Any) -> str:
    r"""Return JSON that is safe inside a script element: no ``<``, ``>``, ``&`` or line separators stand in it.

    >>> embed({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def code(text: str) -> Markup:
    """Escape text, set what stands between backticks as code, and keep ``%`` with its number."""
    text = re.sub(r"(?<=\d) %", "\u00a0%", text)
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def soft(text: str) -> Markup:
    """Escape a name that may go on in the next line after its ``/``, ``_`` and ``.``.

    >>> soft("activations/dead")
    Markup('activations/<wbr>dead')
    """
    return Markup(re.sub(r"(?<=\w)([/_.])(?=\w)", r"\1<wbr>", str(escape(text))))


@lru_cache(maxsize=16)
def asset(name: str) -> str:
    """Return a file of ``assets/``."""
    return (files("lightning_diag.report") / "assets" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"code": code, "soft": soft}
    return environment.from_string(asset("template.html"))


def _policy(sheets: list[str], scripts: list[str]) -> str:
    """A policy under which the browser runs our own scripts and nothing else, and never goes to the network."""

    def hashes(texts: list[str]) -> str:
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(sheets)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
