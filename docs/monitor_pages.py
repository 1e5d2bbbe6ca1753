"""One page a monitor: what it watches, its signals with their W&B keys, its rules. From the code."""

from __future__ import annotations

import fnmatch
import inspect
import re
from collections.abc import Sequence

from docs.roles import plain
from lightning_diag.monitors import Monitor, SanityMonitor
from lightning_diag.monitors.diagnostics import DEFAULT
from lightning_diag.signals import SIGNALS, Signal, logged_keys

_CODE = re.compile(r"``([a-z_]+/[a-z_*]+|lr)``")


def made(cls: type[Monitor]) -> Monitor:
    """Return the monitor with all that it can do."""
    return SanityMonitor(full=True) if cls is SanityMonitor else cls()


def classes() -> list[type[Monitor]]:
    """Return the monitors that ``Diagnostics()`` runs, in its order."""
    return [make for make in DEFAULT if isinstance(make, type)]


def own_signals(cls: type[Monitor]) -> list[Signal]:
    """Return the signals that the docstring's paragraph on signals names as its own (before the first semicolon)."""
    found = re.search(r"^Signals: (.*?)(?:;|\n\n)", inspect.getdoc(cls) or "", re.DOTALL | re.MULTILINE)
    globs = _CODE.findall(found[1]) if found else []
    return [s for s in SIGNALS.values() if any(fnmatch.fnmatchcase(s.name, glob) for glob in globs)]


def keys_of(signal: Signal) -> list[str]:
    """Return the keys under which a signal leaves to a logger.

    >>> keys_of(SIGNALS["grad/norm"]), keys_of(SIGNALS["lr"])
    (['diag/grad/norm'], ['diag/lr/max'])
    """
    return [key for key, of in logged_keys().items() if of is signal]


def monitor_page(cls: type[Monitor]) -> str:
    """Return the page of one monitor."""
    doc = plain(inspect.getdoc(cls) or "").replace("``", "`")
    lead = [p for p in re.split(r"\n\n", doc) if not re.match(r"(Signals|Rules|Args|Raises|Examples?):", p)]
    rules = made(cls).parts().detectors
    lines = [
        f"# {cls.__name__}",
        "",
        "\n\n".join(p for p in lead if not p.startswith(("    ", ">>>"))),
        "",
        f"Its arguments are in the [reference](../reference.md#lightning_diag.monitors.{cls.__name__})."
        if "Args:" in doc
        else "It takes no arguments.",
        "",
        "## Signals",
        "",
        "`record only`: detectors and the report see it, a logger doesn't.",
        "",
        "| signal | W&B key | unit | what it is |",
        "| --- | --- | --- | --- |",
        *(_signal_row(s) for s in own_signals(cls)),
        "",
        "## Rules",
        "",
        "| rule | at worst | finds |",
        "| --- | --- | --- |",
        *(f"| [`{d.rule}`](../rules/{d.rule}.md) | {d.severity} | {d.title} |" for d in rules),
        "",
        *_beside(cls),
    ]
    return "\n".join(lines)


def _beside(cls: type[Monitor]) -> Sequence[str]:
    own = {s.name for s in own_signals(cls)}
    reads = {name for d in made(cls).parts().detectors for name in d.reads} - own
    if not reads:
        return []
    return ["Beside its own its rules read " + ", ".join(f"`{name}`" for name in sorted(reads)) + ".", ""]


def _signal_row(signal: Signal) -> str:
    keys = " ".join(f"`{key}`" for key in keys_of(signal)) or "record only"
    return f"| `{signal.name}` | {keys} | {signal.unit} | {signal.doc.replace('|', chr(92) + '|')} |"
