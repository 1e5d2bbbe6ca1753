"""``lightning-diag rules [NAME]``: the rules, or all about one."""

from __future__ import annotations

import argparse
import difflib
import inspect
from collections.abc import Sequence

from lightning_diag import _plugins
from lightning_diag._judge.judge import matches
from lightning_diag.cli.base import FINE, NOT_JUDGED, Command, complain, say
from lightning_diag.detectors.base import Detector


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of a rule."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="rule, code or glob, such as loss/spike, L001 or loss")


def run(options: argparse.Namespace) -> int:
    """Print one line a rule, or the page of the one that was named."""
    every = _plugins.known()
    if options.name is None:
        chosen = every
    else:
        chosen = [cls for cls in every if cls.code == options.name.upper() or matches(cls.rule, (options.name,))]
    if not chosen:
        near = difflib.get_close_matches(options.name, [name for cls in every for name in (cls.rule, cls.code)], 3, 0.4)
        complain(f"no rule is called {options.name!r}{_meant(near)}")
        return NOT_JUDGED
    if options.name is not None and len(chosen) == 1:
        say(_page(chosen[0]))
        return FINE
    wide = max(len(cls.rule) for cls in chosen)
    for cls in chosen:
        say(f"{cls.code}  {cls.rule:<{wide}}  {cls.severity!s:<8}  {cls.title}{_origin(cls)}")
    return FINE


def _meant(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else "; `lightning-diag rules` lists them"


def _origin(cls: type[Detector]) -> str:
    package = _plugins.detectors().get(cls)
    return "" if package is None else f" ({package})"


def _page(cls: type[Detector]) -> str:
    head = f"{cls.rule} ({cls.code}): {cls.title}{_origin(cls)}. Up to {cls.severity}."
    return f"{head}\n\n{inspect.cleandoc(cls.__doc__ or '').replace('``', '`')}"


COMMAND = Command(help="list the rules, or say all about one", arguments=arguments, run=run)
