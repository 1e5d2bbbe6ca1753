"""What the rules over class counts share: reading the counts, names, binomial bounds, false discovery control."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Reading

Array = NDArray[np.float64]
SETTLE_STEPS = 80  # optimizer steps in which every class moves: nothing is judged before


@dataclass(frozen=True)
class Pass:
    """Counts of one validation pass over K classes.

    Attributes:
        support: samples of each class, ``(K,)``.
        right: of these, predicted as that class.
        predicted: samples predicted as each class.
        confusion: true x predicted ``(K, K)``, or None above 64 classes.
        names: K names.
    """

    support: Array
    right: Array
    predicted: Array
    confusion: Array | None
    names: tuple[str, ...]

    @property
    def error(self) -> Array:
        """Error per class, NaN without samples."""
        return 1 - self.right / np.where(self.support > 0, self.support, np.nan)

    @property
    def total_error(self) -> float:
        """Error over all samples."""
        return float(1 - self.right.sum() / self.support.sum())


def counts(reading: Reading, *, early: bool = False) -> Pass:
    """Return the pass of a validation reading; ``early`` ones too, if asked for.

    Raises:
        NotMeasurable: the reading holds no usable counts, or training has hardly begun.
    """
    support, right = reading.vector("class/support"), reading.vector("class/right")
    predicted = reading.vector("class/predicted")
    if support is None or right is None or predicted is None:
        raise NotMeasurable("no class counts of a validation pass (predictions and integer targets were not found)")
    if not np.isfinite(support).all() or support.sum() <= 0:
        raise NotMeasurable("the validation pass held no labelled sample")
    if not early:
        settled(reading)
    names = reading.names("class")
    if len(names) != support.size:
        names = tuple(f"class {k}" for k in range(support.size))
    return Pass(support, right, predicted, reading.vector("class/confusion"), names)


def settled(reading: Reading, least: int = SETTLE_STEPS) -> None:
    """Leave the first ``least`` steps out.

    Raises:
        NotMeasurable: training has hardly begun.
    """
    if reading.step < least:
        raise NotMeasurable(f"classes are judged after {least} optimizer steps, saw {reading.step}")


def no_tokens(reading: Reading) -> None:
    """Leave language models out: tokens are out of balance and come and go by nature.

    Raises:
        NotMeasurable: the classes are tokens.
    """
    if reading.facts.task == "language-model":
        raise NotMeasurable("the classes are tokens of a language, which are rare and frequent by nature")


def wilson(hits: Array | float, n: Array | float, z: float = 1.96) -> tuple[Array, Array]:
    """Return lower and upper Wilson score bounds of a share (Wilson 1927); 0 and 1 where ``n`` is 0.

    >>> low, high = wilson(2.0, 10.0)
    >>> round(float(low), 3), round(float(high), 3)
    (0.057, 0.51)
    """
    hits, n = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    safe = np.maximum(n, 1e-12)
    share = hits / safe
    middle = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z * np.sqrt(share * (1 - share) / safe + z * z / (4 * safe * safe)) / (1 + z * z / safe)
    return np.where(n > 0, np.clip(middle - half, 0, 1), 0.0), np.where(n > 0, np.clip(middle + half, 0, 1), 1.0)


def upper_tail(z: Array) -> Array:
    """Return ``P(Z > z)`` of a standard normal per element; NaN gives 1 (no evidence)."""
    return np.array([1.0 if math.isnan(v) else 0.5 * math.erfc(v / math.sqrt(2)) for v in np.ravel(z)])


def false_discovery(p: Array, level: float) -> NDArray[np.bool_]:
    """Return which p-values are discoveries at this false discovery rate (Benjamini & Hochberg 1995).

    >>> false_discovery(np.array([0.001, 0.04, 0.03, 0.9]), 0.05).tolist()
    [True, False, False, False]
    """
    order = np.argsort(p)
    passed = p[order] <= level * np.arange(1, p.size + 1) / p.size
    found = np.zeros(p.size, dtype=bool)
    if passed.any():
        found[order[: int(np.flatnonzero(passed)[-1]) + 1]] = True
    return found


class Settled:
    """Whether the mean error has stopped falling fast: a class may still come while the others are being learned.

    >>> settled = Settled(3)
    >>> [settled.push(error) for error in (0.9, 0.5, 0.3, 0.29, 0.28, 0.28)]
    [False, False, False, False, True, True]
    """

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations
        self.errors: list[float] = []

    def push(self, error: float) -> bool:
        """Take in the mean error of a pass; True when it is at least 4/5 of that ``evaluations - 1`` passes ago."""
        self.errors = [*self.errors, error][-self.evaluations :]
        return len(self.errors) == self.evaluations and error >= 0.8 * self.errors[0]

    def state_dict(self) -> dict[str, list[float]]:
        """Return plain data."""
        return {"errors": list(self.errors)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.errors = [float(e) for e in state["errors"]]


def added(counts: list[list[float]], new: Array) -> list[list[float]]:
    """Return counts ``(2, K)`` with new ones; of another number of classes these start anew."""
    return (new + np.array(counts) if np.shape(counts) == new.shape else new).tolist()  # type: ignore[no-any-return]


def standardized(error: Array, reference: Array, n: Array, churn: Array, weight: float) -> Array:
    """Return how far errors ``(K,)`` lie above their reference, in standard errors, as ``classes/drift`` says."""
    safe = np.maximum(n, 1.0)
    pooled = ((error + reference) * safe + 2) / (2 * safe + 4)
    deviation = np.sqrt((pooled * (1 - pooled) / safe + churn**2) * weight)
    return np.asarray((error - reference - 0.25 / safe) / deviation)


def traded(k: int, seen: Pass, before: list[list[float]], share: float) -> bool:
    """Whether a ``share`` of what class ``k`` lost since a confusion before goes to one class whose own error fell."""
    if seen.confusion is None or not before:
        return False
    rows = seen.confusion / np.maximum(seen.support, 1)[:, None]
    extra = rows[k] - np.array(before[k])
    extra[k] = 0.0
    gained = int(np.argmax(extra))
    lost = float(np.clip(extra, 0, None).sum())
    better = rows[gained][gained] - before[gained][gained] > 0.25 * extra[gained]
    return lost > 0 and extra[gained] >= share * lost and bool(better)


def beyond_binomial(seconds: list[list[float]], reference: Array, n: Array) -> Array:
    """Return each class's noise from pass to pass beyond binomial, ``(K,)``, from absolute second differences."""
    if len(seconds) < 2:
        return np.zeros(n.size)
    noise = 1.4826 * np.median(np.array(seconds), axis=0) / np.sqrt(6)
    share = (reference * n + 1) / (n + 2)
    own = np.sqrt(np.maximum(noise**2 - share * (1 - share) / np.maximum(n, 1), 0))
    return np.asarray(np.maximum(own, np.median(own)))  # few differences a class: what is usual is the least
