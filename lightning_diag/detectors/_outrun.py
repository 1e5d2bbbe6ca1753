"""How far each of several optimizers moved its weights in the first steps, and whether units died where it did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import numpy as np

from lightning_diag.detectors._parameters import FLOOR, matrices, median, usual
from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

FIRST_STEPS = 30


class Outrun:
    """Each optimizer's ``moved``: the largest, over the first 30 steps, of how far its weights are from their start.

    Of its weight matrices the median of ``|W_t - W_1| / max(|W_t|, floor)``; 1 = nothing is left of the start.

    >>> from lightning_diag.reading import Facts
    >>> facts = Facts(optimizers=("Adam",) * 2, parameter_kind=("matrix",) * 2, parameter_numel=(64, 64),
    ...               parameter_optimizer=(0, 1), in_optimizer=(True, True))
    >>> outrun = Outrun()
    >>> for step in range(1, 60):
    ...     values = {"weight/parameter_norm": np.full(2, 4.0), "weight/distance": np.array([0.1, 0.01]) * step}
    ...     outrun.see(Reading(step, 0, values, facts))
    >>> [round(m, 3) for m in outrun.moved]
    [0.775, 0.077]
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.first_step = -1
        self.moved: list[float] = []

    def see(self, reading: Reading) -> None:
        """Take in the weights of a reading, if it is one of the first."""
        if self.first_step < 0:
            self.first_step = reading.step
        distance, weight = reading.vector("weight/distance"), reading.vector("weight/parameter_norm")
        facts = reading.facts
        holder = np.asarray(facts.parameter_optimizer)
        if reading.step > self.first_step + FIRST_STEPS or distance is None or weight is None:
            return
        if not distance.shape == weight.shape == holder.shape == np.shape(facts.parameter_numel):
            return
        layers = matrices(facts)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (distance / np.maximum(weight, FLOOR * usual(facts.parameter_numel)))[layers]
        now = [median(share[holder[layers] == k]) for k in range(len(facts.optimizers))]
        before = self.moved if len(self.moved) == len(now) else [0.0] * len(now)
        self.moved = [new if new > old else old for new, old in zip(now, before, strict=True)]  # NaN is not larger

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)


def most_dead(reading: Reading, optimizer: int) -> tuple[float, str]:
    """Return the largest share of dead units beside an optimizer's parameters, and the module's name.

    NaN where none is measured, or its parameters have no module in common that tells them from others'.
    """
    dead, names = reading.vector("activation/dead_frac"), reading.names("module")
    parameters, holder = reading.names("parameter"), reading.facts.parameter_optimizer
    if dead is None or len(names) != len(dead) or len(parameters) != len(holder):
        return math.nan, ""
    home = _home([name for name, k in zip(parameters, holder, strict=True) if k == optimizer])
    mine = [i for i, name in enumerate(names) if home and name.startswith(f"{home}.") and np.isfinite(dead[i])]
    worst = max(mine, key=lambda i: (dead[i], -i), default=None)
    return (math.nan, "") if worst is None else (float(dead[worst]), names[worst])


def _home(parameters: list[str]) -> str:
    """The module that holds all of these parameters; empty where there is none.

    >>> _home(["net.generator.0.weight", "net.generator.2.bias"]), _home(["a.weight", "b.weight"]), _home([])
    ('net.generator', '', '')
    """
    paths = [name.split(".")[:-1] for name in parameters]
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False)))
