"""From findings to a diagnosis: causes ranked by evidence, symptoms folded under them, the next experiment.

The graph is a table, :data:`CAUSES`: each cause names the rules that *point* to it, with a weight, and the rules it
*explains* without pointing to it. A cause is scored by the weights of the findings that point to it; it takes the
findings it explains with it unless they came clearly earlier than its own. A non-finite value outranks everything that
is computed from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_diag.finding import Finding, Severity

SLACK_STEPS = 200  # a symptom may be seen this much before its cause: detectors differ in how long they look


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
        """Worst severity of all findings; None when there are none."""
        found = [c.severity for c in self.causes] + [f.severity for f in self.notes]
        return max(found) if found else None

    @property
    def healthy(self) -> bool:
        """Whether something was checked and nothing of warning or worse was found."""
        return bool(self.coverage.ran) and (self.severity or Severity.INFO) < Severity.WARNING

    @property
    def verdict(self) -> str:
        """The diagnosis in one sentence."""
        ran, skipped = len(self.coverage.ran), len(self.coverage.skipped)
        checks = f"{ran} checks ran" + (f", {skipped} could not be judged" if skipped else "")
        if not ran and not self.causes:
            return "Not checked: no check had the data it needs."
        if self.causes:
            top = self.causes[0]
            place = f" at {top.where[0]}" if top.where else ""
            more = len(self.causes) - 1
            also = f"; {more} more cause{'s' if more > 1 else ''}" if more else ""
            return f"{str(top.severity).upper()}: {top.title}{place}, since step {top.first_step}{also} ({checks})."
        loose = [f for f in self.notes if f.severity >= Severity.WARNING]
        if loose:
            return f"{str(loose[0].severity).upper()}: {loose[0].message} No known cause explains it ({checks})."
        notes = f", {len(self.notes)} note{'s' if len(self.notes) > 1 else ''}" if self.notes else ""
        return f"Healthy: nothing of warning or worse{notes} ({checks})."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "verdict": self.verdict,
            "severity": None if self.severity is None else str(self.severity),
            "causes": [c.to_dict() for c in self.causes],
            "notes": [f.to_dict() for f in self.notes],
            "coverage": self.coverage.to_dict(),
        }


@dataclass(frozen=True)
class _Pattern:
    name: str
    title: str
    points: Mapping[str, float]
    explains: tuple[str, ...]
    experiment: str


_NUMERIC = (
    "loss/spike", "loss/diverging", "loss/not-learning", "loss/plateau", "loss/oscillating", "loss/bad-start",
    "gradients/exploding", "gradients/vanishing", "gradients/always-clipped", "updates/too-large", "updates/too-small",
    "updates/frozen", "fit/underfitting", "fit/overfitting", "activations/dead", "activations/saturated",
    "activations/collapsed", "activations/non-finite", "gradients/non-finite", "loss/non-finite", "classes/collapsed",
    "classes/drift", "classes/neglected",
)  # fmt: skip

CAUSES: tuple[_Pattern, ...] = (
    _Pattern(
        "non-finite",
        "a value stopped being finite",
        {"loss/non-finite": 3.0, "gradients/non-finite": 3.0, "activations/non-finite": 3.0, "data/non-finite": 3.5},
        _NUMERIC,
        "replay the batch named in the finding alone, in float32: if it fails again the data or the operation named is "
        "at fault, if it passes the weights had already blown up, so lower the learning rate",
    ),
    _Pattern(
        "disconnected",
        "trainable parameters are not trained",
        {"gradients/unreached": 2.0, "updates/frozen": 1.5},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "updates/too-small"),
        "print `parameter.grad` of the first name after one backward and look for it in `optimizer.param_groups`; "
        "a detach(), a torch.no_grad() or a missing parameter group explains either",
    ),
    _Pattern(
        "learning-rate-too-high",
        "the learning rate is too high",
        {"updates/too-large": 2.0, "loss/diverging": 1.2, "loss/oscillating": 0.8, "gradients/exploding": 0.6},
        _NUMERIC,
        "repeat the first 200 steps with a tenth of the learning rate: if the loss falls now, that was it",
    ),
    _Pattern(
        "bad-initialization",
        "the initial scale is wrong",
        {"loss/bad-start": 1.5, "gradients/exploding": 0.7},
        ("loss/spike", "loss/oscillating", "activations/saturated", "loss/not-learning", "gradients/always-clipped"),
        "train 50 steps with the layers' default initialization (and inputs scaled to unit variance): if the first loss "
        "falls to chance level, that was it",
    ),
    _Pattern(
        "vanishing-gradient",
        "the gradient does not reach the first layers",
        {"gradients/vanishing": 2.0},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "updates/too-small", "updates/frozen",
         "classes/collapsed"),
        "put a normalization layer or a skip connection around every second layer for 200 steps: if the first layers' "
        "gradient norm comes within two decades of the last ones', depth was the problem",
    ),  # fmt: skip
    _Pattern(
        "learning-rate-too-low",
        "the learning rate is too low",
        {"updates/too-small": 2.0},
        ("loss/not-learning", "loss/plateau", "fit/underfitting", "classes/collapsed"),
        "repeat the first 200 steps with 10 times the learning rate: if the loss falls faster without spikes, that was "
        "it",
    ),
    _Pattern(
        "clipping-too-tight",
        "gradient clipping limits every step",
        {"gradients/always-clipped": 1.0},
        ("loss/plateau", "fit/underfitting", "updates/too-small", "loss/not-learning"),
        "raise gradient_clip_val to the 90th percentile of the recorded gradient norm for 200 steps and compare the loss",
    ),
    _Pattern(
        "overfitting",
        "the model memorizes the training data",
        {"fit/overfitting": 2.0},
        ("classes/drift",),
        "first get or generate more varied training data (or stronger augmentation), then stop at the best validation "
        "step; shrink the model only if both fail",
    ),
    _Pattern(
        "too-good",
        "the result is too good to be true",
        {"fit/too-good": 2.0},
        (),
        "remove the samples that stand in both training and validation set, shuffle the labels of one epoch and see "
        "whether validation falls to chance: if not, labels leak into the inputs",
    ),
    _Pattern(
        "unstable",
        "training is unstable",
        {"loss/spike": 1.0, "loss/diverging": 0.8, "loss/oscillating": 0.7},
        ("gradients/exploding",),
        "look at the batch named in the spike; train 200 steps from before it with the learning rate halved and with "
        "gradient clipping at the median gradient norm, one at a time",
    ),
    _Pattern(
        "not-learning",
        "the model learns nothing from the inputs",
        {"loss/not-learning": 1.0, "loss/plateau": 0.6},
        ("fit/underfitting",),
        "train on one single batch for 100 steps: if that doesn't reach a near-zero loss the fault is in the model or the "
        "loss, otherwise in the data, its labels or their order",
    ),
    _Pattern(
        "underfitting",
        "the model is too small, too regularized or trained too shortly",
        {"fit/underfitting": 1.0},
        (),
        "train twice as long with regularization off: if the training loss falls, it was time or regularization, "
        "otherwise widen the model",
    ),
)


def diagnose(findings: Iterable[Finding], coverage: Coverage | None = None) -> Diagnosis:
    """Join findings into causes.

    Resolved findings count half: they may be the trace of a trouble that healed.

    >>> from lightning_diag.finding import Finding, Severity
    >>> lr = Finding("updates/too-large", Severity.WARNING, 20, 0, ("net.0.weight",), "...")
    >>> bad = Finding("loss/not-learning", Severity.CRITICAL, 60, 0, (), "...")
    >>> d = diagnose([bad, lr], Coverage(ran=("updates/too-large", "loss/not-learning")))
    >>> d.causes[0].name, [f.rule for f in d.causes[0].findings], d.causes[0].where
    ('learning-rate-too-high', ['updates/too-large', 'loss/not-learning'], ('net.0.weight',))
    """
    everything = sorted(findings, key=lambda f: (f.first_step, -f.severity, f.rule))
    serious = [f for f in everything if f.severity >= Severity.WARNING and f.status != "resolved"]
    healed = [f for f in everything if f.severity >= Severity.WARNING and f.status == "resolved"]
    left = {f.rule: f for f in serious}
    hints = {f.rule: f for f in everything if f.severity == Severity.INFO}
    causes: list[Cause] = []
    while left:
        scored = [(_score(p, left, hints), -i, p) for i, p in enumerate(CAUSES)]
        total = sum(s for s, _, _ in scored)
        best, _, pattern = max(scored, key=lambda entry: entry[:2])
        if best <= 0:
            break
        causes.append(_cause(pattern, left, best / total if total else 0.0))
        for finding in causes[-1].findings:
            left.pop(finding.rule)
    causes.sort(key=lambda c: (-c.severity, c.first_step if c.name == "non-finite" else 0))
    notes = [*left.values(), *healed, *(f for f in everything if f.severity == Severity.INFO)]
    return Diagnosis(tuple(causes), tuple(notes), coverage or Coverage())


def _score(pattern: _Pattern, left: Mapping[str, Finding], hints: Mapping[str, Finding]) -> float:
    pointing = sum(w for rule, w in pattern.points.items() if rule in left)
    if not pointing:
        return 0.0
    return (
        pointing
        + 0.25 * sum(w for rule, w in pattern.points.items() if rule in hints)
        + 0.1 * sum(1 for rule in pattern.explains if rule in left)
    )


def _cause(pattern: _Pattern, left: Mapping[str, Finding], confidence: float) -> Cause:
    roots = [f for f in left.values() if f.rule in pattern.points]
    start = min(f.first_step for f in roots)
    folded = [
        f for f in left.values()
        if f.rule in pattern.explains and f not in roots and f.first_step >= start - SLACK_STEPS
    ]  # fmt: skip
    roots.sort(key=lambda f: (-pattern.points[f.rule], f.first_step))
    members = (*roots, *sorted(folded, key=lambda f: f.first_step))
    where = tuple(dict.fromkeys(place for f in sorted(roots, key=lambda f: f.first_step) for place in f.where))
    return Cause(
        name=pattern.name,
        title=pattern.title,
        severity=max(f.severity for f in members),
        confidence=confidence,
        where=where,
        first_step=min(f.first_step for f in members),
        findings=members,
        experiment=pattern.experiment,
    )
