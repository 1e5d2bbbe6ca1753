"""Findings and causes as cards: only words and numbers, cleaned for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_diag.causes import CAUSES
from lightning_diag.diagnosis import Cause, Diagnosis
from lightning_diag.finding import Finding, Severity
from lightning_diag.report.charts import Chart
from lightning_diag.report.gather import Gathered
from lightning_diag.report.words import TEXT_LENGTH, clean, number, sentence

RULE_PAGE: str | None = None  # address of a rule's page with ``{rule}`` in it; None = the page names the command
CHIPS = 8  # places shown at once; the rest is one click away
MORE_CHIPS = 200  # places the page holds at most
_POINTS = {pattern.name: tuple(pattern.points) for pattern in CAUSES}
_EVIDENCE = {
    "value": "measured", "lr": "learning rate", "relative": "loss over reference",
    "relative_loss": "loss over reference", "relative_now": "loss over reference",
    "relative_loss_at_end": "the same expected at the end",
    "update_ratio": "step over weight", "window_steps": "steps looked at", "slope_t": "trend (t statistic)",
    "entropy_ratio": "entropy over the labels'", "z": "noise units", "p": "p value", "n": "samples",
    "in_a_row": "times in a row", "level": "loss level", "best": "best level", "shrink": "shortened by",
    "weakest_log10": "weakest update (log10)", "clip_val": "clipping limit", "wait_s": "wait (s)",
    "batch_s": "batch (s)", "delay_s": "delay (s)", "num_workers": "loader workers", "cpus": "CPUs",
    "batch_idx": "batch of the epoch", "in_last_20": "in the last 20", "low": "at least", "high": "at most",
}  # fmt: skip
_UNTOLD = frozenset({"chance_known", "regression", "classification", "measure", "source_held_out"})  # for programs
_STATUS = {"open": "still there", "worsening": "getting worse", "resolved": "resolved"}


@dataclass
class FindingCard:
    """A finding as it is shown. ``number`` is its mark in the charts, ``chart`` its plot."""

    finding: Finding
    number: int
    message: str
    since: str
    status: str
    places: list[str]
    more_places: list[str]
    hidden_places: int
    evidence: list[tuple[str, str]]
    advice: list[str]
    page: str | None
    caption: str = ""
    chart: Chart | None = None
    symptom: bool = False

    @property
    def id(self) -> str:
        """Anchor of the card."""
        return f"finding-{self.number}"

    @property
    def severity(self) -> str:
        """Word for the severity."""
        return str(self.finding.severity)

    @property
    def rule(self) -> str:
        """The rule's public name."""
        return clean(self.finding.rule)

    def mark(self) -> dict[str, Any]:
        """Return what a chart needs to mark the finding."""
        f = self.finding
        last = f.last_step if f.status == "resolved" else None
        return {
            "n": self.number, "step": f.first_step, "last": last, "severity": self.severity, "rule": self.rule,
            "id": self.id,
        }  # fmt: skip


@dataclass
class CauseCard:
    """A cause with its findings: those that point to it, then what follows from it."""

    cause: Cause
    title: str
    since: str
    places: list[str]
    more_places: list[str]
    hidden_places: int
    experiment: str
    pointing: list[FindingCard] = field(default_factory=list)
    symptoms: list[FindingCard] = field(default_factory=list)

    @property
    def severity(self) -> str:
        """Word for the severity."""
        return str(self.cause.severity)

    @property
    def share(self) -> int:
        """Share of the evidence that speaks for this cause and no other, in percent."""
        return round(100 * self.cause.confidence)


@dataclass
class Cards:
    """All cards of a page, most important first."""

    causes: list[CauseCard]
    loose: list[FindingCard]
    notes: list[FindingCard]

    def findings(self) -> list[FindingCard]:
        """Every finding, in the order of its number."""
        inside = [card for cause in self.causes for card in (*cause.pointing, *cause.symptoms)]
        return [*inside, *self.loose, *self.notes]


def cards(diagnosis: Diagnosis, got: Gathered) -> Cards:
    """Return the cards of a diagnosis. Loose: warnings without a known cause. Notes: info and what was resolved."""
    count = 0

    def card(finding: Finding) -> FindingCard:
        nonlocal count
        count += 1
        return finding_card(finding, count, got)

    causes = []
    for cause in diagnosis.causes:
        view = _cause_card(cause, got)
        for finding in cause.findings:
            made = card(finding)
            made.symptom = finding.rule not in _POINTS.get(cause.name, (finding.rule,))
            (view.symptoms if made.symptom else view.pointing).append(made)
        causes.append(view)
    bad = [f for f in diagnosis.notes if f.severity >= Severity.WARNING and f.status != "resolved"]
    rest = [f for f in diagnosis.notes if f not in bad]
    return Cards(causes, [card(f) for f in bad], [card(f) for f in rest])


def finding_card(finding: Finding, count: int, got: Gathered) -> FindingCard:
    """Return one finding's card."""
    shown, more, hidden = _places(finding.where)
    told = {k: v for k, v in finding.evidence.items() if k not in _UNTOLD}
    evidence = [(clean(_EVIDENCE.get(k, k.replace("_", " "))), number(v)) for k, v in told.items()]
    return FindingCard(
        finding,
        count,
        sentence(clean(finding.message, TEXT_LENGTH)),
        since(finding.first_step, got),
        _status(finding),
        shown,
        more,
        hidden,
        evidence[:16],
        [sentence(clean(a, TEXT_LENGTH)) for a in finding.advice[:12]],
        RULE_PAGE.format(rule=finding.rule) if RULE_PAGE else None,
    )


def since(step: int, got: Gathered) -> str:
    """Return ``step 1,200 (epoch 3)``."""
    epoch = got.epoch_of(step)
    return f"step {step:,}" + (f" (epoch {epoch:,})" if epoch is not None and len(got.epochs) > 1 else "")


def _cause_card(cause: Cause, got: Gathered) -> CauseCard:
    shown, more, hidden = _places(cause.where)
    return CauseCard(
        cause,
        clean(cause.title, TEXT_LENGTH),
        since(cause.first_step, got),
        shown,
        more,
        hidden,
        sentence(clean(cause.experiment, TEXT_LENGTH)),
    )


def _places(where: Sequence[str]) -> tuple[list[str], list[str], int]:
    names = [clean(place) or "(unnamed)" for place in where[: CHIPS + MORE_CHIPS]]
    return names[:CHIPS], names[CHIPS:], max(0, len(where) - CHIPS - MORE_CHIPS)


def _status(finding: Finding) -> str:
    word = _STATUS[finding.status]
    times = f"seen {finding.count:,} times" if finding.count > 1 else "seen once"
    return f"{word}, {times}, last at step {finding.last_step:,}"
