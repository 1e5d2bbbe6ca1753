"""Which domains a run holds, and which of them is the one that counts."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Reading

Array = NDArray[np.float64]
UNNAMED = (
    "no domain is named: put a 'domain' into the batch, name the validation loaders, give the data sets a domain "
    "attribute, or use DomainGapMonitor(domain=...)"
)
_TARGET = frozenset({"real", "target", "test"})
_SOURCE = frozenset({"synthetic", "syn", "synth", "sim", "simulated", "simulation", "source", "generated", "rendered"})


def present(reading: Reading) -> tuple[tuple[str, ...], Array, Array]:
    """Return names of the domains and their samples in validation and in training, all ``(D,)``.

    Raises:
        NotMeasurable: no domain is named.
    """
    val, train = reading.vector("domain/val_samples"), reading.vector("domain/train_samples")
    size = max(0 if v is None else v.size for v in (val, train))
    if not size:
        raise NotMeasurable(reading.facts.unmeasured.get("domain/val_samples", UNNAMED))
    names = reading.names("domain")[:size]
    names += tuple(f"domain {i}" for i in range(len(names), size))
    return names, _padded(val, size), _padded(train, size)


def choose(names: tuple[str, ...], val: Array, train: Array, target: str | None) -> int:
    """Return the index of the domain that counts.

    By the name given; else by a name that says so (``real``, ``target``; ``test`` beside ``synthetic`` and the like);
    else the only one that is mostly seen in validation while another is trained on.

    Raises:
        NotMeasurable: one domain only, or none stands out.
    """
    there = [i for i in range(len(names)) if val[i] + train[i] > 0]
    if target is not None:
        found = [i for i in there if names[i] == target]
        if not found:
            raise NotMeasurable(f"no sample of the target {target!r}; domains seen: {listed(names, there)}")
    else:
        sources = [i for i in there if _words(names[i]) & _SOURCE]
        sure = [i for i in there if _words(names[i]) & {"real", "target"} and i not in sources]
        weak = [i for i in there if _words(names[i]) & _TARGET and i not in sources]
        found = sure or (weak if sources else [])
        found = found or (_mostly_validation(there, val, train) if not sources else [])
        found = found or ([i for i in there if i not in sources] if sources else [])
    if len(there) < 2:
        raise NotMeasurable(f"one domain only: {listed(names, there)}")
    if len(found) != 1:
        raise NotMeasurable(
            f"which of {listed(names, there)} is the domain that counts is not known: DomainGapMonitor(target=...)"
        )
    return found[0]


def _mostly_validation(there: list[int], val: Array, train: Array) -> list[int]:
    """Domains whose share of the training samples is under a third of their share of the validation samples."""
    shares = val / max(val.sum(), 1), train / max(train.sum(), 1)
    return [i for i in there if val[i] > 0 and train.sum() > 0 and shares[1][i] < shares[0][i] / 3]


def _padded(values: Array | None, size: int) -> Array:
    made = np.zeros(size)
    if values is not None:
        made[: values.size] = np.where(np.isfinite(values), values, 0.0)
    return made


def listed(names: tuple[str, ...], which: list[int]) -> str:
    return " and ".join(names[i] for i in which) or "none"


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name.lower()))


def named(metric: str) -> tuple[bool, bool]:
    """Whether a metric's name holds a word for a target domain, and one for a source domain.

    >>> named("val_real/acc"), named("val/synthetic_loss"), named("val_loss")
    ((True, False), (False, True), (False, False))
    """
    words = _words(metric.split("/dataloader_idx_")[0])
    return bool(words & {"real", "target"}), bool(words & _SOURCE)
