"""Findings that are known or accepted: a baseline file, and suppressions with their reasons.

A finding is told apart by its fingerprints ``rule::place``, one a place; ``rule::`` where it concerns the whole run. It
is known, or suppressed, only when all of its places are: the first new layer makes it news.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_diag._judge.judge import matches
from lightning_diag.errors import ConfigurationError, DiagnosticsError
from lightning_diag.finding import Finding
from lightning_diag.sinks._news import clean

HEAD = "# lightning-diag baseline: findings that are known, one `rule::place` a line"


def fingerprints(finding: Finding) -> tuple[str, ...]:
    """Return ``rule::place`` for each place of a finding, sorted.

    >>> from lightning_diag.finding import Severity
    >>> fingerprints(Finding("activations/dead", Severity.INFO, 9, 0, ("net.3", "net.1"), "..."))
    ('activations/dead::net.1', 'activations/dead::net.3')
    """
    return tuple(sorted(f"{finding.rule}::{clean(place)}" for place in finding.where or ("",)))


@dataclass(frozen=True)
class Suppression:
    """A rule that is not to be told at a place, and why.

    Attributes:
        rule: glob of rules, such as ``loss/*`` or ``loss``.
        place: glob of places; ``*`` also stands for the whole run.
        reason: why it is no trouble here.
    """

    rule: str
    place: str
    reason: str

    @classmethod
    def parse(cls, text: str) -> Suppression:
        """Read ``rule::place=reason``; without ``::place`` it holds everywhere.

        Raises:
            ConfigurationError: the reason or the rule is missing.

        >>> Suppression.parse("activations/dead::encoder.*=frozen on purpose")
        Suppression(rule='activations/dead', place='encoder.*', reason='frozen on purpose')
        """
        subject, _, reason = text.partition("=")
        rule, _, place = subject.partition("::")
        if not rule.strip() or not reason.strip():
            raise ConfigurationError(f"a suppression must be 'rule::place=reason' or 'rule=reason', got {text!r}")
        return cls(rule.strip(), place.strip() or "*", clean(reason.strip()))

    def covers(self, finding: Finding, place: str) -> bool:
        """Whether it holds for this finding at this place."""
        named = place == self.place or fnmatch.fnmatchcase(place, self.place)  # a name may hold a glob's signs
        return named and matches(finding.rule, (self.rule,))


@dataclass(frozen=True)
class Known:
    """What is not news.

    Attributes:
        baseline: fingerprints of known findings.
        suppressions: what was accepted, with reasons.
    """

    baseline: frozenset[str] = frozenset()
    suppressions: tuple[Suppression, ...] = ()

    def is_known(self, finding: Finding) -> bool:
        """Whether the baseline holds every place of a finding."""
        return self.baseline.issuperset(fingerprints(finding))

    def reason(self, finding: Finding) -> str | None:
        """Return why a finding is suppressed; None when it isn't, or not at all of its places."""
        reasons: dict[str, None] = {}
        for place in finding.where or ("",):
            found = next((s for s in self.suppressions if s.covers(finding, place)), None)
            if found is None:
                return None
            reasons[found.reason] = None
        return "; ".join(reasons)


def add_suppressions(parser: argparse._ActionsContainer) -> None:
    """Add the arguments that accept findings with a reason."""
    parser.add_argument(
        "--suppress",
        metavar="RULE[::PLACE]=REASON",
        action="append",
        default=[],
        help="accept a rule, at a place or everywhere; globs may be used, the reason is shown",
    )
    parser.add_argument("--suppressions", metavar="FILE", type=Path, help="the same from a file, one a line")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file that are neither empty nor a comment.

    Raises:
        DiagnosticsError: it can't be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DiagnosticsError(f"{path} can't be read: {error}") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def read_baseline(path: Path) -> frozenset[str]:
    """Return the fingerprints of a baseline file.

    Raises:
        DiagnosticsError: it can't be read, or a line is no fingerprint.
    """
    lines = read_lines(path)
    for line in lines:
        if "::" not in line:
            raise DiagnosticsError(f"{path}: {line!r} is no fingerprint: rule::place, or rule:: for the whole run")
    return frozenset(lines)


def write_baseline(path: Path, findings: Iterable[Finding]) -> int:
    """Write the fingerprints of findings, sorted, and return how many they are.

    Raises:
        DiagnosticsError: it can't be written.
    """
    lines = sorted({mark for finding in findings for mark in fingerprints(finding)})
    try:
        path.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
    except OSError as error:
        raise DiagnosticsError(f"{path} can't be written: {error}") from error
    return len(lines)


def gather(baseline: Path | None, suppress: Sequence[str], file: Path | None) -> Known:
    """Return what is known from the arguments of the command.

    Args:
        baseline: file of fingerprints.
        suppress: suppressions as text.
        file: file of more suppressions, one a line.
    """
    lines = [*suppress, *(read_lines(file) if file is not None else [])]
    return Known(
        read_baseline(baseline) if baseline is not None else frozenset(), tuple(Suppression.parse(s) for s in lines)
    )
