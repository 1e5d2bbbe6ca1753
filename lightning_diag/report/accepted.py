"""Findings that somebody accepted: left out of verdict, causes and charts, and listed with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning_diag.finding import Finding
from lightning_diag.report.cards import since
from lightning_diag.report.gather import Gathered
from lightning_diag.report.words import TEXT_LENGTH, clean, sentence

Accepted = Callable[[Finding], str | None]  # why a finding is no trouble; None where it isn't accepted
ANCHOR = "accepted"  # of the table on the page
PLACES = 8  # named in a row


def nothing(finding: Finding) -> str | None:
    """Accept nothing."""
    return None


def split(findings: Sequence[Finding], accepted: Accepted) -> tuple[list[Finding], list[tuple[Finding, str]]]:
    """Return the findings that count, and those that are accepted with their reasons.

    >>> from lightning_diag.finding import Severity
    >>> spike = Finding("loss/spike", Severity.WARNING, 9, 0, (), "...")
    >>> split([spike], nothing) == ([spike], []), split([spike], lambda f: "new data") == ([], [(spike, "new data")])
    (True, True)
    """
    reasons = [(finding, accepted(finding)) for finding in findings]
    return [f for f, reason in reasons if reason is None], [(f, reason) for f, reason in reasons if reason is not None]


def rows(accepted: Sequence[tuple[Finding, str]], got: Gathered) -> list[dict[str, Any]]:
    """Return the table's rows."""
    return [
        {
            "rule": clean(finding.rule),
            "severity": str(finding.severity),
            "message": sentence(clean(finding.message, TEXT_LENGTH)),
            "places": [clean(place) or "(unnamed)" for place in finding.where[:PLACES]],
            "more": max(0, len(finding.where) - PLACES),
            "since": since(finding.first_step, got),
            "reason": clean(reason, TEXT_LENGTH),
        }
        for finding, reason in accepted
    ]
