"""What is worth telling a person again: each rule once a severity."""

from __future__ import annotations

import re

from lightning_diag.finding import Finding, Severity

# CSI and OSC sequences of a terminal, then every control, direction-changing and lone-surrogate character
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])|\x9b[0-?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


class News:
    """Tells a new finding, or one that got more severe, from one that was told before.

    >>> news = News()
    >>> f = Finding("loss/spike", Severity.WARNING, 41, 0, (), "...")
    >>> news.is_new(f), news.is_new(f), news.is_new(Finding("loss/spike", Severity.CRITICAL, 50, 0, (), "..."))
    (True, False, True)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.told: dict[str, Severity] = {}
        self.ended: set[str] = set()

    def is_new(self, finding: Finding) -> bool:
        """Whether to tell it: its rule was never told, or only with a lower severity."""
        if finding.status == "resolved" or self.told.get(finding.rule, -1) >= finding.severity:
            return False
        self.told[finding.rule] = finding.severity
        return True

    def is_over(self, finding: Finding) -> bool:
        """Whether to tell its end: it was told, is resolved, and its end wasn't told before."""
        if finding.status != "resolved" or finding.rule not in self.told or finding.rule in self.ended:
            return False
        self.ended.add(finding.rule)
        return True


def clean(text: str) -> str:
    r"""Return a user's string without terminal sequences and control characters, on one line.

    >>> clean("net\x1b[31m.0\n[bold]weight[/bold]\x00")
    'net.0 [bold]weight[/bold] '
    """
    return _CONTROL.sub(" ", _ANSI.sub("", text))


def places(where: tuple[str, ...], shown: int = 2) -> str:
    """Return the first few places in words; empty for the whole run.

    >>> places(("a", "b", "c", "d"))
    'a, b (+2)'
    """
    more = f" (+{len(where) - shown})" if len(where) > shown else ""
    return clean(", ".join(where[:shown])) + more
