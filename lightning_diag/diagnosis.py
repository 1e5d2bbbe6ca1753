"""From findings to a diagnosis: causes ranked by evidence, symptoms folded under them, the next experiment.

The graph is a table, :data:`~lightning_diag.causes.CAUSES`: each cause names the rules that *point* to it, with a
weight, and the rules it *explains* without pointing to it. A cause is scored by the weights of the findings that point
to it, half for a resolved one: what healed may have left the damage that is still there. It takes the findings it
explains with it unless they came clearly earlier than its own. A non-finite value that came before every other finding
outranks everything that is computed from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_diag import _evidence as evidence
from lightning_diag.causes import CAUSES as CAUSES
from lightning_diag.causes import Pattern
from lightning_diag.checklist import Item, checklist
from lightning_diag.finding import Finding, Severity


@dataclass(frozen=True)
class Coverage:
    """Which checks ran and which did not, and why. A skipped check is not a passed check.

    Attributes:
        ran: rules that were judged at least once.
        skipped: rule -> reason.
    """

    ran: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"ran": list(self.ran), "skipped": dict(self.skipped)}

    @classmethod
    def from_dict(cls, data: object) -> Coverage:
        """Rebuild a coverage from :meth:`to_dict`; of damaged data what can be used.

        >>> Coverage.from_dict({"ran": ["loss/spike"], "skipped": 3})
        Coverage(ran=('loss/spike',), skipped={})
        """
        ran, skipped = (data.get("ran"), data.get("skipped")) if isinstance(data, Mapping) else (None, None)
        return cls(
            tuple(str(rule) for rule in ran) if isinstance(ran, (list, tuple)) else (),
            {str(k): str(v) for k, v in skipped.items()} if isinstance(skipped, Mapping) else {},
        )

    def counted(self, when: str = "") -> str:
        """Return how many checks ran (and when, in words), and how many could not be judged.

        >>> Coverage(("loss/spike",), {"fit/overfitting": "no validation"}).counted(" so far")
        '1 check ran so far, 1 could not be judged'
        """
        skipped = f", {len(self.skipped):,} could not be judged" if self.skipped else ""
        return f"{_count(len(self.ran), 'check') if self.ran else 'no check'} ran{when}{skipped}"


@dataclass(frozen=True)
class Cause:
    """One cause with the findings it explains.

    Attributes:
        name: stable name, such as ``learning-rate-too-high``.
        title: the same in words.
        severity: worst of its findings.
        confidence: 0 to 1: share of the pointing evidence that speaks for it and not for a rival.
        where: places, the first to turn bad leading.
        first_step: first measured step of any of its findings.
        findings: pointing ones first, then symptoms, each by first step.
        experiment: the smallest experiment that tells it from its nearest rival.
    """

    name: str
    title: str
    severity: Severity
    confidence: float
    where: tuple[str, ...]
    first_step: int
    findings: tuple[Finding, ...]
    experiment: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; findings by rule."""
        return {
            "name": self.name,
            "title": self.title,
            "severity": str(self.severity),
            "confidence": round(self.confidence, 3),
            "where": list(self.where),
            "first_step": self.first_step,
            "findings": [f.rule for f in self.findings],
            "experiment": self.experiment,
        }


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with the run, as far as it was measured.

    Attributes:
        causes: most likely and severe first; only warnings and worse make a cause.
        notes: findings no cause explains, and all of severity info.
        coverage: which checks ran.
    """

    causes: tuple[Cause, ...] = ()
    notes: tuple[Finding, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def severity(self) -> Severity | None:
        """Worst severity of all findings that are not resolved; None when there are none."""
        found = [c.severity for c in self.causes] + [f.severity for f in self.notes if f.status != "resolved"]
        return max(found) if found else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding once, most severe first, open before resolved, then by first step."""
        every = {f.rule: f for f in (*(f for c in self.causes for f in c.findings), *self.notes)}
        return tuple(sorted(every.values(), key=lambda f: (-f.severity, f.status == "resolved", f.first_step, f.rule)))

    @property
    def checklist(self) -> tuple[Item, ...]:
        """The due-diligence list, ticked by these findings and this coverage."""
        return checklist(self.findings, self.coverage.ran, self.coverage.skipped)

    @property
    def healthy(self) -> bool:
        """Whether something was checked and nothing of warning or worse was found."""
        return bool(self.coverage.ran) and (self.severity or Severity.INFO) < Severity.WARNING

    @property
    def verdict(self) -> str:
        """The diagnosis in one sentence."""
        checks = self.coverage.counted()
        if not self.coverage.ran and not self.causes:
            return "Not checked: no check had the data it needs."
        if self.causes:
            top = self.causes[0]
            place = f" at {top.where[0]}" if top.where else ""
            also = f"; {_count(len(self.causes) - 1, 'more cause')}" if len(self.causes) > 1 else ""
            return f"{str(top.severity).upper()}: {top.title}{place}, since step {top.first_step}{also} ({checks})."
        serious = [f for f in self.notes if f.severity >= Severity.WARNING]
        loose = [f for f in serious if f.status != "resolved"]
        if loose:
            return f"{str(loose[0].severity).upper()}: {loose[0].message} No known cause explains it ({checks})."
        healed = f", {_count(len(serious), 'finding')} resolved" if serious else ""
        noted = len(self.notes) - len(serious)
        notes = f", {_count(noted, 'note')}" if noted else ""
        return f"Healthy: nothing of warning or worse{healed}{notes} ({checks})."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "verdict": self.verdict,
            "severity": None if self.severity is None else str(self.severity),
            "causes": [c.to_dict() for c in self.causes],
            "notes": [f.to_dict() for f in self.notes],
            "coverage": self.coverage.to_dict(),
            "checklist": [item.to_dict() for item in self.checklist],
        }


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def diagnose(findings: Iterable[Finding], coverage: Coverage | None = None) -> Diagnosis:
    """Join findings into causes.

    A resolved finding points with half its weight and never makes a cause alone.

    >>> from lightning_diag.finding import Finding, Severity
    >>> lr = Finding("updates/too-large", Severity.WARNING, 20, 0, ("net.0.weight",), "...")
    >>> bad = Finding("loss/not-learning", Severity.CRITICAL, 60, 0, (), "...")
    >>> d = diagnose([bad, lr], Coverage(ran=("updates/too-large", "loss/not-learning")))
    >>> d.causes[0].name, [f.rule for f in d.causes[0].findings], d.causes[0].where
    ('learning-rate-too-high', ['updates/too-large', 'loss/not-learning'], ('net.0.weight',))
    """
    everything = sorted(findings, key=lambda f: (f.first_step, -f.severity, f.rule))
    left = {f.rule: f for f in everything if f.severity >= Severity.WARNING}
    noted = {f.rule: f for f in everything if f.severity < Severity.WARNING}
    causes: list[Cause] = []
    while left:
        raw = [evidence.score(pattern, left, noted) for pattern in CAUSES]
        scores = [s * evidence.own(pattern, left, raw, noted) for pattern, s in zip(CAUSES, raw, strict=True)]
        best = max(range(len(CAUSES)), key=lambda i: (scores[i], -i))
        if scores[best] <= 0:
            break
        if scores[0] > 0 and evidence.came_first(CAUSES[0], left):
            best = 0
        causes.append(_cause(CAUSES[best], left, scores[best] / sum(scores), noted))
        for finding in causes[-1].findings:
            left.pop(finding.rule, None)
    causes.sort(key=lambda c: (-c.severity, c.name != CAUSES[0].name))
    rest = sorted(left.values(), key=lambda f: f.status == "resolved")
    taken = {f.rule for cause in causes for f in cause.findings}
    rest += [f for f in everything if f.severity < Severity.WARNING and f.rule not in taken]
    return Diagnosis(tuple(causes), tuple(rest), coverage or Coverage())


def _cause(pattern: Pattern, left: Mapping[str, Finding], confidence: float, noted: Mapping[str, Finding]) -> Cause:
    members = evidence.members(pattern, left, noted)
    points = evidence.points(pattern, left, noted)
    roots = sorted((f for f in members if f.rule in points), key=lambda f: f.first_step)
    return Cause(
        name=pattern.name,
        title=pattern.title,
        severity=max(f.severity for f in members if f.status != "resolved"),
        confidence=confidence,
        where=tuple(dict.fromkeys(place for f in roots for place in f.where)),
        first_step=min(f.first_step for f in members),
        findings=tuple(members),
        experiment=pattern.experiment,
    )
