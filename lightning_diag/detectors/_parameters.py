"""What the rules over parameters share: weight matrices, scale-free optimizers, names for many parameters."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Facts, Reading, Value

FLOOR = 0.5  # of the default initialization's scale: weights that start below it (LoRA's B, x0.1) have to grow
# Optimizers whose step doesn't change when all gradients are multiplied by a constant ("ada": Adam, AdamW, NAdam,
# RAdam, Adamax, Adafactor, Adagrad, Adadelta, Adan ...).
SCALE_FREE = (
    "ada",
    "lion",
    "rmsprop",
    "lamb",
    "lars",
    "muon",
    "sophia",
    "shampoo",
    "soap",
    "prodigy",
    "novograd",
    "sign",
)


NAMED = 20  # places that a finding names at most


def scale_free(facts: Facts) -> bool:
    """Whether every optimizer of the run takes the same step when all gradients are scaled.

    >>> scale_free(Facts(optimizers=("AdamW",))), scale_free(Facts(optimizers=("SGD", "Adam"))), scale_free(Facts())
    (True, False, False)
    """
    return bool(facts.optimizers) and all(any(s in name.lower() for s in SCALE_FREE) for name in facts.optimizers)


def matrices(facts: Facts) -> NDArray[np.intp]:
    """Return the indices of the weight matrices that an optimizer holds, in registration order, shape ``(M,)``.

    Gradients of parameters that no optimizer holds are never cleared by ``optimizer.zero_grad()``: they add up over the
    run and say nothing.
    """
    return _matrices(facts.parameter_kind, facts.in_optimizer)


@lru_cache(maxsize=32)
def _matrices(kinds: tuple[str, ...], held: tuple[bool, ...]) -> NDArray[np.intp]:
    held = held if len(held) == len(kinds) else (True,) * len(kinds)
    return np.array([i for i, kind in enumerate(kinds) if kind == "matrix" and held[i]], dtype=np.intp)


@lru_cache(maxsize=32)
def weighty(kinds: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which parameters are weight matrices or embeddings, whether an optimizer holds them or not, ``(P,)``."""
    return np.array([kind in ("matrix", "embedding") for kind in kinds], dtype=bool)


@lru_cache(maxsize=32)
def sizes(numel: tuple[int, ...]) -> Value:
    """Return the numbers of elements as an array (cached: a tuple of 1,000 costs more to convert than to judge)."""
    return np.array(numel, dtype=np.float64)


def median(values: Value) -> float:
    """Median of what isn't NaN; NaN when nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmedian(values)) if len(values) else math.nan


def usual(numel: tuple[int, ...]) -> Value:
    """Return the norms that the default initialization, uniform within ``1 / sqrt(fan in)``, gives square matrices."""
    return sizes(numel) ** 0.25 / math.sqrt(3)


def arrays(reading: Reading, *signals: str) -> list[Value]:
    """Return these per-parameter arrays.

    Raises:
        NotMeasurable: one is absent, or their length is not the number of parameters.
    """
    count = len(reading.facts.parameter_kind)
    if not count:
        raise NotMeasurable("the kinds of the parameters are not known")
    found = []
    for signal in signals:
        value = reading.vector(signal)
        if value is None:
            raise NotMeasurable(reading.facts.unmeasured.get(signal, f"{signal} is not measured at this step"))
        if value.shape != (count,):
            raise NotMeasurable(f"{signal} has {value.size} entries for {count} parameters")
        found.append(value)
    return found


def named(reading: Reading, index: int) -> str:
    """Return a parameter's name, or its number where the run has no names."""
    names = reading.names("parameter")
    return names[index] if index < len(names) else f"parameter {index}"


class Place(NamedTuple):
    """A module all of whose parameters are concerned, or a single parameter."""

    name: str
    parameters: int
    numel: int

    def __str__(self) -> str:
        return self.name if self.parameters == 1 else f"{self.name} ({self.parameters} parameters)"


def places(reading: Reading, mask: NDArray[np.bool_]) -> tuple[Place, ...]:
    """Return the places that make up ``mask`` ``(P,)``, folded into modules, the largest first.

    Empty when every parameter is concerned (the whole run).
    """
    count = len(mask)
    names = reading.names("parameter")
    names = names if len(names) == count else tuple(f"parameter {i}" for i in range(count))
    numel = reading.facts.parameter_numel
    return _fold(names, numel if len(numel) == count else (1,) * count, mask.tobytes())


@lru_cache(maxsize=32)
def _fold(names: tuple[str, ...], numel: tuple[int, ...], mask: bytes) -> tuple[Place, ...]:
    """See :func:`places`; cached, since a finding that holds asks for the same names again and again.

    >>> _fold(("a.w", "a.b", "c.w", "c.b"), (6, 2, 6, 2), bytes([1, 1, 0, 1]))
    (Place(name='a', parameters=2, numel=8), Place(name='c.b', parameters=1, numel=2))
    """
    if all(mask):
        return ()
    total = Counter(prefix for name in names for prefix in _prefixes(name))
    inside = Counter(prefix for name, m in zip(names, mask, strict=True) if m for prefix in _prefixes(name))
    found: dict[str, list[int]] = {}
    for name, size, m in zip(names, numel, mask, strict=True):
        if m:
            whole = next((p for p in _prefixes(name) if total[p] == inside[p] and total[p] > 1), name)
            found.setdefault(whole, []).append(size)
    made = [Place(name, len(all_sizes), sum(all_sizes)) for name, all_sizes in found.items()]
    return tuple(sorted(made, key=lambda place: -place.numel))


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def where(found: tuple[Place, ...]) -> tuple[str, ...]:
    """Return the names of the largest places."""
    return tuple(place.name for place in found[:NAMED])


def listed(found: tuple[Place, ...], limit: int = 3) -> str:
    """Return the first ``limit`` places in words.

    >>> listed((Place("a", 2, 8), Place("c.b", 1, 2)))
    'a (2 parameters), c.b'
    """
    more = len(found) - limit
    return ", ".join(str(place) for place in found[:limit]) + (f" and {more} more" if more > 0 else "")
