"""What an even guess, an untrained network's, costs where classes are unequal: more than the best constant guess."""

from __future__ import annotations

import math

from lightning_diag.reading import Facts

NEARLY = 1.1  # ratio up to which classes count as equal


def even(facts: Facts) -> float:
    """Return the loss of an even guess over the chance loss; 1 where it isn't known or classes are nearly equal.

    ``log K`` for the cross-entropy of K classes, ``log 2`` for the binary one, the largest entropy of such labels
    (Shannon, 1948). With one yes in fifty the best constant guess costs a seventh of that, so that every network starts
    seven times above chance.

    >>> round(even(Facts(chance_loss=0.098, loss_kind="bce", task="classification")), 2)
    7.07
    >>> even(Facts(chance_loss=2.29, loss_kind="cross-entropy", task="classification", num_classes=10))
    1.0
    """
    kind, chance = facts.loss_kind or "", facts.chance_loss
    if facts.task != "classification" or not chance or chance <= 0:
        return 1.0
    guess = 0.0
    if kind == "bce":
        guess = math.log(2)
    elif kind.startswith("cross-entropy") and "sum" not in kind and facts.num_classes:
        guess = math.log(facts.num_classes)
    return guess / chance if guess > NEARLY * chance else 1.0
