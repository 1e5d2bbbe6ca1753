"""The head of the page: what is wrong, where, since when, and what to try, in ten seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding
from lightning_diag.record import Record
from lightning_diag.report.cards import Cards
from lightning_diag.report.gather import Gathered
from lightning_diag.report.words import clean, plural, sentence

MAX_FINDINGS = 300  # one a rule: more can only be a record made up to hurt
STATUS = {"running": "run in progress", "killed": "killed", "finished": "finished", "failed": "ended with an error"}
UNENDED = ("running", "killed")


@dataclass(frozen=True)
class Verdict:
    """The head of the page.

    Attributes:
        kind: ``critical``, ``warning``, ``healthy``, ``unchecked`` or ``quiet`` (nothing found, and it has not ended).
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
    """Return the diagnosis of a record's findings (or of some), with the coverage the run stated last."""
    found = record.findings[:MAX_FINDINGS] if findings is None else findings
    return diagnose(found, Coverage.from_dict(record.coverage))


def verdict(diagnosis: Diagnosis, shown: Cards, got: Gathered, status: str, accepted: int = 0) -> Verdict:
    """Return the head of the page; so many findings were accepted and don't count."""
    checks = _checks(diagnosis.coverage, status)
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
    if status in UNENDED and got.readings:
        text = f"No finding up to step {got.last_step:,}"
        return Verdict("quiet", status, text, checks=checks, whole=f"{text}; {STATUS[status]}.")
    if diagnosis.coverage.ran:
        return Verdict("healthy", "healthy", "Nothing is wrong, as far as it was checked", checks=checks, whole=whole)
    return Verdict("unchecked", "not checked", "Nothing could be checked", checks=checks, whole=whole)


def _checks(coverage: Coverage, status: str) -> str:
    if coverage.ran or coverage.skipped:
        return coverage.counted(" so far" if status == "running" else "")
    return "No check ran so far" if status == "running" else "No check had the data it needs"
