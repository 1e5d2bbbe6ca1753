"""What a finding over domains tells beside the gap: numbers, input statistics, classes. D domains, K classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._domains import LEAST, Ladder
from lightning_diag.detectors._words import percent
from lightning_diag.detectors._words import points as in_points
from lightning_diag.reading import Reading

Array = NDArray[np.float64]


def says(value: float, measure: str) -> str:
    """A rate in words: errors in percent, losses as numbers."""
    if measure == "loss":
        return f"{value:.3g}"
    return percent(value)


def evidence(ladder: Ladder, limit: float) -> dict[str, Any]:
    """The numbers behind a gap."""
    return {
        "value": ladder.gap,
        "limit": limit,
        "target": ladder.to.mean,
        "target_samples": ladder.to.n,
        "source": ladder.base.mean,
        "source_samples": ladder.base.n,
        "source_held_out": int(ladder.held_out),
        "standard_error": ladder.se,
        "low": ladder.gap - 1.96 * ladder.se,
        "high": ladder.gap + 1.96 * ladder.se,
        "measure": ladder.measure,
    }


def differences(reading: Reading, t: int) -> list[tuple[float, str]]:
    """Return the input statistics by which the target differs most, ``(standardized difference, words)``.

    Differences are in pooled standard deviations of single samples (Cohen's d).
    """
    sums = reading.vector("domain/input_sums")
    if sums is None or t >= len(sums):
        return []
    rest = np.delete(sums, t, 0).sum(0)
    made = []
    for k, name in enumerate(("mean", "contrast", "roughness")):
        a, b = sums[t, 3 * k : 3 * k + 3], rest[3 * k : 3 * k + 3]
        if min(a[0], b[0]) < LEAST:
            continue
        means = a[1] / a[0], b[1] / b[0]
        spread = math.sqrt(max((a[2] / a[0] - means[0] ** 2 + b[2] / b[0] - means[1] ** 2) / 2, 0.0))
        if spread > 1e-3 * max(abs(means[0]), abs(means[1])):
            d = (means[0] - means[1]) / spread
            made.append((abs(d), f"{name} {means[0]:.3g} against {means[1]:.3g} (d = {d:.3g})"))
    return sorted(made, reverse=True)


def class_gaps(reading: Reading, t: int, ladder: Ladder) -> tuple[Array, Array, Array, Array] | None:
    """Return per class the target's and the source's error and the samples of both, each ``(K,)``.

    Where the source isn't held out, every class is compared with all of its training samples together.
    """
    support, right = reading.vector("domain/val_class_support"), reading.vector("domain/val_class_right")
    if support is None or right is None or t >= len(support):
        return None
    n = support[t]
    with np.errstate(invalid="ignore", divide="ignore"):
        to = 1 - right[t] / n
        if not ladder.held_out:
            return to, np.full(n.size, ladder.base.mean), n, np.full(n.size, ladder.base.n)
        m = np.delete(support, t, 0).sum(0)
        return to, 1 - np.delete(right, t, 0).sum(0) / m, n, m


def points(value: float, measure: str) -> str:
    """A difference of two rates in words: errors in points of percent."""
    return in_points(value) if measure == "error" else f"{value:.3g}"


def scaled(effect: float, ladder: Ladder) -> float:
    """The effect for an error rate; for a loss ten times its share of the source's loss."""
    return effect if ladder.measure == "error" else 10 * effect * abs(ladder.base.mean)
