"""The demo of one run's health: the same training twice, once with a mistake people really make."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lightning_diag.demo.data import real_digits
from lightning_diag.demo.rendering import HANDWRITTEN, synthetic_digits
from lightning_diag.demo.telling import Teller
from lightning_diag.demo.training import Plan, Result, train

# 100 times the healthy run's; Adam's steps are as long as its learning rate, whatever the gradient (Kingma & Ba 2015)
WRONG_LR = 2e-1
CAUSE = "learning-rate-too-high"
CONFESSION = "Adam was given lr=2e-1 where 2e-3 was meant."
SYNTHETIC_DIGITS = 900


def tell(folder: Path, seed: int, teller: Teller) -> tuple[bool, list[Result]]:
    """Train healthy and mistaken, say what was found; return whether the diagnosis was right about both, and both."""
    real = real_digits(seed)
    digits = real["train"] + synthetic_digits(SYNTHETIC_DIGITS, seed, HANDWRITTEN)
    plan = Plan("healthy", digits, real["val"], seed=seed)
    teller.say(
        f"Handwritten digits, 8x8: {len(real['train'])} real ones and {SYNTHETIC_DIGITS} drawn from fonts to train on, "
        f"{len(real['val'])} real ones to validate on."
    )
    teller.title("1  A training that is fine")
    healthy = train(plan, folder)
    teller.result(healthy)
    teller.title("2  The same training, with one mistake in it")
    mistaken = train(dataclasses.replace(plan, name="mistaken", lr=WRONG_LR), folder)
    teller.result(mistaken)
    quiet, found = healthy.diagnosis.healthy, names_mistake(mistaken)
    teller.title("What we had done")
    teller.say(CONFESSION)
    teller.say("The diagnosis found it." if found else "The diagnosis did not find it.")
    if not quiet:
        teller.say("But it was not quiet about the healthy run, as it should have been.")
    return quiet and found, [healthy, mistaken]


def names_mistake(result: Result) -> bool:
    """Whether the leading cause is the planted one."""
    causes = result.diagnosis.causes
    return bool(causes) and causes[0].name == CAUSE
