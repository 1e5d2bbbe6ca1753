"""How much evidence findings are for a cause of the table, and which of them it takes with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lightning_diag.causes import CAUSES, CONSEQUENCES, Pattern
from lightning_diag.finding import Finding

ROOTED = 1.5  # weight of a symptom for the cause that is given
HINTED = 0.5  # weight of a note, over that of a warning
EXPLAINED = 0.3  # weight of evidence that a rival, seen no later, explains
START_STEPS = 2  # a finding that came later was not there before training began
SLACK_STEPS = 200  # a symptom may be seen this much before its cause: detectors differ in how long they look


MECHANISMS = ("gradients/", "updates/", "activations/", "setup/", "data/")  # groups whose notes may be a root

Left = Mapping[str, Finding]  # rule -> finding of warning or worse that no cause has taken yet
Notes = Mapping[str, Finding]  # rule -> finding of severity info


def points(pattern: Pattern, left: Left, notes: Notes) -> Mapping[str, float]:
    """Rule -> weight of the evidence for a cause: its own, and all it explains where what it asks for is there.

    Args:
        pattern: the cause.
        left: see :data:`Left`.
        notes: see :data:`Notes`.
    """
    given = any(rule in left or (rule in notes and notes[rule].status != "resolved") for rule in pattern.given)
    first = min((f.first_step for f in left.values()), default=-1)
    given = given or any(rule in notes and notes[rule].first_step <= first for rule in pattern.noted)
    weights = {**dict.fromkeys(_explains(pattern), ROOTED), **pattern.points} if given else pattern.points
    found = {**notes, **left}
    later = {r: w for r, w in pattern.later.items() if r in found and found[r].first_step > START_STEPS}
    return {**weights, **later} if later else weights


def _explains(pattern: Pattern) -> tuple[str, ...]:
    return pattern.explains if pattern.harmless else (*pattern.explains, *CONSEQUENCES)


def _roots(rules: Iterable[str], left: Left, notes: Notes) -> list[Finding]:
    """The findings of these rules; where nothing but consequences is left, the notes of mechanisms that led to them."""
    found = [left[rule] for rule in rules if rule in left]
    if not found and all(rule in CONSEQUENCES for rule in left):
        found = [notes[rule] for rule in rules if rule in notes and rule.startswith(MECHANISMS)]
    return found


def score(pattern: Pattern, left: Left, notes: Notes) -> float:
    """How much evidence points to a cause; 0 when none does or when all it would take is resolved."""
    weights = points(pattern, left, notes)
    if all(f.status == "resolved" for f in members(pattern, left, notes) if f.rule in left):
        return 0.0
    return (
        sum(w * _stands(left[rule]) for rule, w in weights.items() if rule in left)
        + HINTED * sum(w * _stands(notes[rule]) for rule, w in weights.items() if rule in notes)
        + 0.1 * sum(1 for rule in pattern.explains if rule in left and rule not in weights)
    )


def _stands(finding: Finding) -> float:
    return 0.5 if finding.status == "resolved" else 1.0


def own(pattern: Pattern, left: Left, scores: Sequence[float], notes: Notes) -> float:
    """How much of a cause's evidence is its own: :data:`EXPLAINED` when all of it follows from a rival seen earlier."""
    weights = points(pattern, left, notes)
    pointing = [left[rule] for rule in weights if rule in left]
    for rival, evidence in zip(CAUSES, scores, strict=True):
        if rival is pattern or evidence <= 0 or not all(f.rule in _explains(rival) for f in pointing):
            continue
        others = [rule for rule in rival.points if rule not in weights and rule not in CONSEQUENCES]
        roots = _roots(others, left, notes) or [notes[rule] for rule in rival.noted if rule in notes]
        mutual = all(f.rule in _explains(pattern) for f in roots)  # each might follow from the other: what came first?
        if roots and pointing and _earlier(roots, pointing, 0 if mutual else SLACK_STEPS):
            return EXPLAINED
    return 1.0


def _earlier(roots: Sequence[Finding], others: Sequence[Finding], slack: int) -> bool:
    return min(f.first_step for f in roots) <= min(f.first_step for f in others) + slack


def came_first(pattern: Pattern, left: Left) -> bool:
    """Whether a finding that points to a cause came before all others, or with the first."""
    first = min(f.first_step for f in left.values())
    return any(f.rule in pattern.points for f in left.values() if f.first_step == first)


def members(pattern: Pattern, left: Left, notes: Notes) -> list[Finding]:
    """The findings a cause would take: those that point to it, strongest first, then its symptoms by first step."""
    weights = points(pattern, left, notes)
    roots = _roots(weights, left, notes)
    if not roots:
        return []
    start = min(f.first_step for f in roots) - SLACK_STEPS
    symptoms = (f for f in left.values() if f.rule in _explains(pattern) and f.rule not in weights)
    folded = [f for f in symptoms if f.first_step >= start]
    if not folded and roots[0].rule in notes:
        return []  # a note alone is no cause
    roots.sort(key=lambda f: (-weights[f.rule], f.first_step))
    return [*roots, *sorted(folded, key=lambda f: f.first_step)]
