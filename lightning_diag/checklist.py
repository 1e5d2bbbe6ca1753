"""The due-diligence list for a model that doesn't learn, ticked off by what was found and what was checked.

Items follow the checklists of Karpathy, A recipe for training neural networks, 2019, and Ng, Machine learning yearning,
2018: the data first, then the wiring, then how it is trained, then what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightning_diag.finding import Finding, Severity

State = Literal["ok", "note", "failed", "not-measurable"]


@dataclass(frozen=True)
class Item:
    """One line of the list.

    Attributes:
        item: what should hold, in words.
        state: ``ok`` (a rule was judged, nothing found), ``note`` (only notes), ``failed`` (a warning or worse that is
            not resolved), ``not-measurable`` (no rule could be judged).
        why: the finding's sentence, or why nothing could be judged; empty for ``ok``.
        rules: the rules that judge it; where failed or noted, those that found something.
    """

    item: str
    state: State
    why: str
    rules: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"item": self.item, "state": self.state, "why": self.why, "rules": list(self.rules)}


ITEMS: dict[str, tuple[str, ...]] = {
    "the metric that is followed is the one that counts": ("domains/wrong-target",),
    "training data look like the data that count": ("domains/gap", "domains/gap-widening", "domains/separable"),
    "there is enough training data": ("fit/overfitting", "data/duplicates"),
    "labels are right": (
        "data/label-noise", "data/conflicting-labels", "data/labels-shifted", "data/val-at-chance",
    ),
    "every class is represented": ("classes/imbalanced", "data/class-never-target", "classes/neglected"),
    "nothing leaks": ("data/leakage", "data/near-leakage", "data/giveaway-feature"),
    "no input is empty, constant or broken": ("data/constant-feature", "data/non-finite", "data/alike-sequences"),
    "inputs are normalized where the model needs it": ("data/unnormalized",),
    "batches are shuffled": ("data/unshuffled",),
    "the input matters and samples stay apart": ("sanity/input-ignored", "sanity/batch-mixing"),
    "a single batch can be learned": (
        "sanity/cannot-overfit-batch", "sanity/wrong-gradient", "sanity/train-eval-gap", "sanity/random-labels-as-easy",
    ),
    "every parameter is trained": ("gradients/unreached", "updates/frozen", "gradients/accumulating"),
    "signals pass the network": (
        "gradients/vanishing", "gradients/exploding", "activations/dead", "activations/saturated",
        "activations/collapsed", "activations/attention-collapsed", "loss/bad-start",
    ),
    "every number is finite": ("loss/non-finite", "gradients/non-finite", "activations/non-finite"),
    "the learning rate is in a sane range": (
        "updates/too-large", "updates/too-small", "gradients/always-clipped", "loss/diverging", "loss/oscillating",
    ),
    "training is not held up": ("system/input-bound", "system/straggler", "system/memory-growth"),
    "it was trained long enough": ("fit/underfitting", "loss/plateau"),
    "it is not overfitted": ("fit/overfitting", "classes/drift"),
    "it is not over-regularized": ("fit/over-regularized",),
    "it is not too good to be true": ("fit/too-good",),
    "it is better than guessing": ("loss/not-learning", "classes/collapsed"),
    "it is better than a linear model": ("sanity/worse-than-linear",),
}  # fmt: skip


def checklist(findings: Iterable[Finding], ran: Iterable[str], skipped: Mapping[str, str]) -> tuple[Item, ...]:
    """Return the list, ticked.

    Args:
        findings: all findings of the run.
        ran: rules that were judged.
        skipped: rule -> why it could not be judged.

    >>> found = [Finding("data/leakage", Severity.WARNING, 47, 0, (), "1.2 % of the validation samples have passed.")]
    >>> items = {item.item: item for item in checklist(found, ["data/leakage", "fit/too-good"], {})}
    >>> items["nothing leaks"].state, items["it is not too good to be true"].state
    ('failed', 'ok')
    >>> items["batches are shuffled"].state, items["batches are shuffled"].why
    ('not-measurable', 'not among the rules of this run')
    """
    open_ = {f.rule: f for f in findings if f.status != "resolved"}
    judged = set(ran)
    return tuple(_item(name, rules, open_, judged, skipped) for name, rules in ITEMS.items())


def _item(
    name: str, rules: tuple[str, ...], found: Mapping[str, Finding], judged: set[str], skipped: Mapping[str, str]
) -> Item:
    here = sorted((found[rule] for rule in rules if rule in found), key=lambda f: -f.severity)
    if here:
        state: State = "failed" if here[0].severity >= Severity.WARNING else "note"
        return Item(name, state, here[0].message, tuple(f.rule for f in here))
    if judged & set(rules):
        return Item(name, "ok", "", rules)
    why = next((skipped[rule] for rule in rules if rule in skipped), "not among the rules of this run")
    return Item(name, "not-measurable", why, rules)
