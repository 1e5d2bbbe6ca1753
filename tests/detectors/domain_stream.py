"""Validation passes of two domains with binomial errors, for the rules over domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading

FACTS = Facts(names={"domain": ("synthetic", "real")})
SYNTHETIC, REAL = 0, 1


def sums(wrong: Any, n: Any) -> np.ndarray:
    """``(D, 6)`` of errors only."""
    wrong, n = np.asarray(wrong, float), np.asarray(n, float)
    return np.stack([n, wrong, wrong, *np.zeros((3, len(n)))], 1)


def reading(
    number: int,
    val: Sequence[float],
    train: Sequence[float] | None = None,
    n: Sequence[int] = (300, 400),
    trained: Sequence[int] = (300, 300),
    rng: np.random.Generator | None = None,
    facts: Facts = FACTS,
    more: dict[str, Any] | None = None,
) -> Reading:
    """One pass with these error rates (drawn with ``rng``, else exact); ``train`` None = nothing seen in training."""
    rates = (np.asarray(val), None if train is None else np.asarray(train))
    size = (np.asarray(n, float), np.asarray(trained, float))
    wrong = [
        None if p is None else (p * m if rng is None else rng.binomial(m.astype(int), p))
        for p, m in zip(rates, size, strict=True)
    ]
    values: dict[str, Any] = {"domain/named": np.float64(1.0), "domain/val_samples": size[0]}
    values["domain/val_sums"] = sums(wrong[0], size[0])
    if wrong[1] is not None:
        values |= {"domain/train_samples": size[1], "domain/train_sums": sums(wrong[1], size[1])}
    return Reading(100 * number, number - 1, {**values, **(more or {})}, facts, stage="validation")


def run(detector: Detector, readings: Sequence[Reading] | Iterator[Reading]) -> list[Finding | str | None]:
    """What the detector says to each: a finding, None, or the reason why it can't judge."""
    said: list[Finding | str | None] = []
    for one in readings:
        try:
            said.append(detector.update(one))
        except NotMeasurable as reason:
            said.append(str(reason))
    return said


def found(said: Sequence[Finding | str | None]) -> list[Finding]:
    """The findings among them."""
    return [one for one in said if isinstance(one, Finding)]
