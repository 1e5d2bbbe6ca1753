"""The head of the page: what is wrong, where, since when, and what to try, in ten seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding
from lightning_diag.record import Record
from lightning_diag.report.cards import Cards
from lightning_diag.report.gather import Gathered
from lightning_diag.report.words import clean, plural, sentence

MAX_FINDINGS = 300  # one a rule: more can only be a record made up to hurt
STATUS = {"running": "run in progress", "finished": "finished", "failed": "ended with an error"}


@dataclass(frozen=True)
class Verdict:
    """The head of the page.

    Attributes:
        kind: ``critical``, ``warning``, ``healthy``, ``unchecked`` or ``quiet`` (running, nothing found so far).
        word: the kind in a word.
        headline: what is wrong.
        place: where, the first place to turn bad; empty for the whole run.
        since: since when.
        experiment: what to try next.
        also: ``(anchor, title)`` of the other causes.
        checks: how much was checked.
        whole: the verdict in one plain sentence.
    """

    kind: str
    word: str
    headline: str
    place: str = ""
    since: str = ""
    experiment: str = ""
    also: tuple[tuple[str, str], ...] = ()
    checks: str = ""
    whole: str = ""


def diagnosis_of(record: Record, findings: Sequence[Finding] | None = None) -> Diagnosis:
    """Return the diagnosis of a record's findings (or of some), with the coverage the run stated at its end.

    While the run goes on (and after it was killed) its coverage is not known: nothing is said to have run.
    """
    stored = record.diagnosis or {}
    coverage = stored.get("coverage")
    found = record.findings[:MAX_FINDINGS] if findings is None else findings
    return diagnose(found, _coverage(coverage) if isinstance(coverage, Mapping) else None)


def verdict(diagnosis: Diagnosis, shown: Cards, got: Gathered, running: bool, accepted: int = 0) -> Verdict:
    """Return the head of the page; so many findings were accepted and don't count."""
    checks = _checks(diagnosis.coverage, running)
    if accepted:
        checks += f"; {plural(accepted, 'finding')} accepted and left out"
    whole = clean(diagnosis.verdict, 600)
    if shown.causes:
        top = shown.causes[0]
        also = [(f"cause-{i}", c.title) for i, c in enumerate(shown.causes[1:], 2)]
        also += [(f.id, f.rule) for f in shown.loose]
        place = top.places[0] if top.places else ""
        headline = sentence(top.title).rstrip(".")
        return Verdict(
            top.severity, top.severity, headline, place, top.since, top.experiment, tuple(also), checks, whole
        )
    if shown.loose:
        first = shown.loose[0]
        advice = first.advice[0] if first.advice else ""
        place = first.places[0] if first.places else ""
        also = [(f.id, f.rule) for f in shown.loose[1:]]
        return Verdict(
            first.severity, first.severity, first.message.rstrip("."), place, first.since, advice, tuple(also), checks,
            whole,
        )  # fmt: skip
    if diagnosis.coverage.ran:
        return Verdict("healthy", "healthy", "Nothing is wrong, as far as it was checked", checks=checks, whole=whole)
    if running and got.readings:
        text = f"No finding up to step {got.last_step:,}"
        return Verdict("quiet", "running", text, checks=checks, whole=f"{text}; the run is in progress.")
    return Verdict("unchecked", "not checked", "Nothing could be checked", checks=checks, whole=whole)


def _checks(coverage: Coverage, running: bool) -> str:
    if coverage.ran or coverage.skipped:
        text = f"{plural(len(coverage.ran), 'check')} ran"
        return text + (f", {len(coverage.skipped):,} could not be judged" if coverage.skipped else "")
    return "Which checks ran is written when the run ends" if running else "No check had the data it needs"


def _coverage(data: Mapping[str, Any]) -> Coverage:
    ran, skipped = data.get("ran", ()), data.get("skipped", {})
    return Coverage(
        tuple(str(rule) for rule in ran) if isinstance(ran, (list, tuple)) else (),
        {str(k): str(v) for k, v in skipped.items()} if isinstance(skipped, Mapping) else {},
    )
