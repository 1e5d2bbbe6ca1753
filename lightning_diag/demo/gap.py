"""The demo of the user who is stuck: trained on drawn digits and a few real ones, meant for real handwriting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightning_diag.demo.data import CLASS_NAMES, SYNTHETIC, Digits, real_digits
from lightning_diag.demo.rendering import HANDWRITTEN, PRINTED, Look, synthetic_digits
from lightning_diag.demo.telling import Teller
from lightning_diag.demo.training import Plan, Result, accuracy_alone, train
from lightning_diag.finding import Finding

RULE = "domains/gap"
DRAWN = 2000  # synthetic digits to train on
HELD_OUT = 500  # and to validate on, drawn with a seed of their own
FEW = 20  # real digits that are labelled when the story begins
MORE = 20  # labelled because the finding asks for them
MANY = 100  # what labels alone would do
CLASSES = 3  # classes of which more are labelled: as many as the finding's advice names
WHAT_WE_DID = (
    "We do both at once: ink as dark as the real one, strokes of any width, no margin; and {more} more real digits, "
    "now labelled ({classes}), so that half of what is drawn into a batch is real."
)


def tell(folder: Path, seed: int, teller: Teller) -> tuple[bool, list[Result]]:
    """Train stuck, then as the finding advises; return whether it was named and the advice helped, and the runs."""
    real = real_digits(seed)
    few, rest = real["train"].take(FEW), real["train"].only(np.arange(FEW, len(real["train"])))
    teller.title("3  Stuck: trained on drawn digits, meant for handwriting")
    teller.say(
        f"{DRAWN} digits printed from fonts and {FEW} real ones to train on; {len(real['val'])} real ones and "
        f"{HELD_OUT} printed ones to validate on."
    )
    before = train(_plan("stuck", few, real["val"], PRINTED, seed), folder)
    teller.result(before)
    found = named(before)
    if found is None:
        teller.say("The diagnosis did not name the gap.")
        return False, [before]
    teller.title("4  The next experiment: the first two it advises")
    for number, advice in enumerate(found.advice[:2], start=1):
        teller.say(f"{number}. {advice}")
    more = asked_for(found, rest)
    ours = few + more
    classes = ", ".join(CLASS_NAMES[k] for k in np.unique(more.labels))
    teller.say(WHAT_WE_DID.format(more=len(more), classes=classes))
    half = ours.repeated(DRAWN // len(ours))
    after = train(_plan("advised", half, real["val"], HANDWRITTEN, seed), folder)
    teller.result(after)
    alone = [(len(part), _alone(part, real["val"], seed)) for part in (ours, real["train"].take(MANY))]
    compare(before, after, alone, teller)
    return after.accuracy() > before.accuracy(), [before, after]


def named(result: Result) -> Finding | None:
    """The finding that names the gap, where it is part of the leading cause."""
    leading = result.diagnosis.causes[:1]
    return next((finding for cause in leading for finding in cause.findings if finding.rule == RULE), None)


def asked_for(found: Finding, unlabelled: Digits) -> Digits:
    """The next real digits of the classes that the finding names first; of any class where it names none."""
    classes = [CLASS_NAMES.index(name) for name in found.where if name in CLASS_NAMES][:CLASSES]
    wanted = np.flatnonzero(np.isin(unlabelled.labels, classes or range(len(CLASS_NAMES))))
    return unlabelled.only(wanted[:MORE])


def compare(before: Result, after: Result, alone: Sequence[tuple[int, float]], teller: Teller) -> None:
    """Print both runs side by side, and what real digits alone reach."""
    teller.title("Side by side")
    both = (before, after)
    rows = [
        ["right on real handwriting", *[_percent(run.accuracy()) for run in both]],
        ["right on held-out synthetic", *[_percent(run.accuracy(SYNTHETIC)) for run in both]],
        ["gap", *[f"{100 * (run.accuracy(SYNTHETIC) - run.accuracy()):.1f} points" for run in both]],
        ["most errors on real", *[_worst(run) for run in both]],
        ["gives the domains away", *[giveaway(run) for run in both]],
    ]
    teller.table(("", "stuck", "as advised"), rows)
    told = ", ".join(f"{n} of them {_percent(accuracy)}" for n, accuracy in alone)
    teller.say(f"Real digits alone, for as many steps: {told}.")
    worth = 100 * (after.accuracy() - alone[0][1])
    teller.say(f"So the drawn ones are worth {worth:+.1f} points beside the same {alone[0][0]} real ones.")


def giveaway(result: Result) -> str:
    """What the inputs differ in most, where it is much; and how well features tell the domains apart."""
    findings = {finding.rule: finding for finding in result.diagnosis.findings if finding.status != "resolved"}
    inputs = str(findings[RULE].evidence.get("inputs", "")) if RULE in findings else ""
    lines = inputs.replace(" against ", " / ").split("; ")
    if (separable := findings.get("domains/separable")) is not None:
        lines.append(f"features: AUC {float(separable.evidence['value']):.2f}")
    return "\n".join(line for line in lines if line) or "nothing found"


def _plan(name: str, real: Digits, val: Digits, look: Look, seed: int) -> Plan:
    """Digits drawn in one look beside real ones, both to train and to validate on; about 500 steps."""
    digits = real + synthetic_digits(DRAWN, seed, look)
    held_out = synthetic_digits(HELD_OUT, seed + 1, look)
    return Plan(name, digits, val + held_out, epochs=round(16 * DRAWN / len(digits)), seed=seed)


def _alone(real: Digits, val: Digits, seed: int) -> float:
    return accuracy_alone(Plan("alone", real.repeated(DRAWN // len(real)), val, seed=seed))


def _worst(result: Result) -> str:
    return "\n".join(f"{CLASS_NAMES[k]}: {_percent(errors)}" for k, errors in result.worst(3))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
