"""What a run's optimizers are called, and what they are set to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray
from torch.optim import Optimizer

from lightning_diag.probes.parameters import TrainedParameters

NAMED = 2  # modules that an optimizer is called after, at most


def names(optimizers: Sequence[Optimizer], known: TrainedParameters) -> dict[str, tuple[str, ...]]:
    """Return the names along the axes ``optimizer`` and ``group``: class and number, and the modules it trains."""
    count = range(len(optimizers))
    parts = [modules([n for n, holder in zip(known.names, known.holder, strict=True) if holder == k]) for k in count]
    short = [type(opt).__name__ + (f" {k}" if len(optimizers) > 1 else "") for k, opt in enumerate(optimizers)]
    return {
        "optimizer": tuple(f"{name} ({part})" if part else name for name, part in zip(short, parts, strict=True)),
        "group": tuple(f"{short[k]} group {g}" for k in count for g in range(len(optimizers[k].param_groups))),
    }


def modules(parameters: Sequence[str]) -> str:
    """Return the module that holds all these parameters, or a few outermost ones; empty where there are many.

    >>> modules(["net.generator.0.weight", "net.generator.2.bias"]), modules(["a.weight", "b.0.bias"]), modules([])
    ('net.generator', 'a, b', '')
    """
    paths = [name.split(".")[:-1] for name in parameters]
    common = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))]
    if common:
        return ".".join(common)
    outermost = dict.fromkeys(path[0] for path in paths if path)
    return ", ".join(outermost) if len(outermost) <= NAMED else ""


def rates(optimizers: Sequence[Optimizer]) -> NDArray[np.float64]:
    """Learning rate of each parameter group, ``(groups,)``."""
    return np.array([float(g["lr"]) for opt in optimizers for g in opt.param_groups])


def decays(optimizers: Sequence[Optimizer]) -> NDArray[np.float64]:
    """Weight decay of each parameter group, ``(groups,)``."""
    return np.array([float(g.get("weight_decay") or 0.0) for opt in optimizers for g in opt.param_groups])


def decay_of_each(optimizers: Sequence[Optimizer], known: TrainedParameters) -> tuple[float, ...]:
    """Weight decay of each parameter."""
    groups = (g for opt in optimizers for g in opt.param_groups)
    found = {id(p): float(g.get("weight_decay") or 0.0) for g in groups for p in g["params"]}
    return tuple(found.get(id(p), 0.0) for p in known.tensors)
