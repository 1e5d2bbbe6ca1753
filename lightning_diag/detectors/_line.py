"""Whether the loss still falls in a straight line along the way that the weights go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

SHARE, LEAST_STEPS = 0.1, 40  # of the plan, and steps at least, that are looked at
FEW = 8  # samples that say something, and that the window is stretched for, up to ...
APART = 3.0  # steps between samples at least, on average: a single step goes along a line in health, too
STRETCHED = 0.25  # ... this share of the steps done
MOST = 256  # samples kept: neighbours are joined beyond
ERRORS = 2.0  # standard errors that an estimate is lowered by


class Line:
    """What the gradient foretold along the way gone, over what the loss fell by.

    ``q``: sum of ``grad/along`` (the product of each sampled step's gradient with the change of the weights since the
    sample before) over the change of the loss in the same steps, from the line through its curve. On a straight line
    ``q`` is 1. In a valley with the curvature that lets steps fall by the most they can it is 0 (a parabola, whose
    derivative is 0 at its bottom), with larger steps negative; so is it where noise moves the weights. With
    ``x = 2 (1 - q) / (2 - q)`` a step ``1 / x`` times as long would fall by the most.

    The idea is that of the curvature condition of a line search (Wolfe, 1969), under noise as in Mahsereci and Hennig,
    *Probabilistic line searches for stochastic optimization*, JMLR 2017; Schneider et al., *Cockpit*, NeurIPS 2021,
    show the same of single steps. Here it is taken over many, with gradients of batches that had no part in the way.

    >>> import numpy as np
    >>> from lightning_diag.reading import Facts
    >>> from lightning_diag.streaming import LossTrace
    >>> line, curve, facts = Line(), LossTrace(), Facts(planned_steps=400)
    >>> for step in range(1, 101):
    ...     curve.push(3.0 - 0.01 * step)
    ...     if step % 5 == 0:
    ...         line.see(Reading(step, 0, {"grad/along": np.float64(-0.05)}, facts, curve=curve))
    >>> round(line.straight, 2), round(line.surely, 2)
    (1.0, 1.0)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.straight = math.nan  # q
        self.surely = math.nan  # the least it is, by two standard errors of what was foretold and of the fall
        self._step = -1
        self._samples: list[list[float]] = []  # [step, steps it covers, product], oldest first

    @property
    def longer(self) -> float:
        """By how much longer steps would be the best along this way: ``1 / x``, 10 at most."""
        q = min(self.straight, 1.0)
        return min(10.0, (2 - q) / (2 * (1 - q))) if q < 1 else 10.0

    def see(self, reading: Reading) -> None:
        """Take in a sampled step; one without the signal, or without a loss, changes nothing."""
        product = reading.scalar("grad/along")
        last, self._step = self._step, reading.step if product is not None else self._step
        if product is None or not math.isfinite(product) or last < 0 or reading.step <= last:
            return
        self._samples.append([reading.step, reading.step - last, product])
        if len(self._samples) > MOST:
            newest = self._samples.pop()
            pairs = zip(self._samples[::2], self._samples[1::2], strict=True)
            self._samples = [*([b[0], a[1] + b[1], a[2] + b[2]] for a, b in pairs), newest]
        self.straight = self.surely = math.nan
        chosen = self._window(reading)
        steps = sum(s[1] for s in chosen)
        line = reading.curve.trend(int(steps))
        if len(chosen) < FEW or steps < APART * len(chosen) or not math.isfinite(line.se):
            return
        foretold = sum(s[2] for s in chosen)
        pace = foretold / steps
        spread = sum((s[2] - s[1] * pace) ** 2 for s in chosen) * len(chosen) / (len(chosen) - 1)
        fell, scale = -line.change * steps / line.steps, steps / line.steps
        if fell > 0:
            self.straight = -foretold / fell
            self.surely = (-foretold - ERRORS * math.sqrt(spread)) / (fell + ERRORS * line.se * scale)

    def _window(self, reading: Reading) -> list[list[float]]:
        """The samples to look at: a tenth of the plan, more where they are few."""
        steps = max(LEAST_STEPS, SHARE * (reading.facts.planned_steps or reading.step))
        stretched = max(steps, STRETCHED * reading.step)
        chosen: list[list[float]] = []
        for sample in reversed(self._samples):
            age = reading.step - sample[0] + sample[1]
            if age > (steps if len(chosen) >= FEW else stretched):
                break
            chosen.append(sample)
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
