"""What a comparison needs of one run: where its loss began, ended and was lowest, and how large its gradients were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Reading

Array = NDArray[np.float64]
SERIES = ("loss/train", "loss/val", "accuracy/val", "grad/norm", "lr")
BLOCKS = 20  # of a curve: 5 % of the run each
END = 0.1  # share of the run that is its end
START = 10  # first losses
MEDIAN_SE = 1.2533  # standard error of a median over that of a mean, for normal noise


@dataclass(frozen=True)
class Curves:
    """The series of one run.

    Attributes:
        steps: signal -> steps, (n,).
        values: signal -> values, (n,); the largest of a vector.
    """

    steps: Mapping[str, Array]
    values: Mapping[str, Array]

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> Curves:
        """Gather the series of a run's readings."""
        found: dict[str, list[tuple[int, float]]] = {name: [] for name in SERIES}
        for reading in readings:
            for name, points in found.items():
                value = reading.values.get(name)
                if value is not None and np.size(value):
                    points.append((reading.step, float(np.max(value))))
        arrays = {name: np.asarray(points, dtype=np.float64).reshape(-1, 2) for name, points in found.items()}
        return cls({name: a[:, 0] for name, a in arrays.items()}, {name: a[:, 1] for name, a in arrays.items()})

    @property
    def last_step(self) -> int:
        """Last step with a training loss, or else with anything."""
        steps = self.steps["loss/train"]
        if not steps.size:
            steps = np.concatenate(list(self.steps.values()))
        return int(steps.max()) if steps.size else 0

    def until(self, step: int) -> Curves:
        """Return the same up to a step."""
        keep = {name: steps <= step for name, steps in self.steps.items()}
        return Curves(
            {name: steps[keep[name]] for name, steps in self.steps.items()},
            {name: values[keep[name]] for name, values in self.values.items()},
        )


@dataclass(frozen=True)
class Number:
    """A number and the standard error that the noise of single batches gives it."""

    value: float
    se: float = 0.0


@dataclass(frozen=True)
class Measured:
    """Numbers of one run over the common steps; absent where the run doesn't hold them.

    Attributes:
        numbers: quantity -> number.
        start: median of the first losses; NaN where they weren't logged.
        blocks: medians of the training loss over 20 equal parts, NaN where there is none.
        finite: share of the training losses at the end that are finite; NaN without any.
    """

    numbers: Mapping[str, Number]
    start: float
    blocks: Array = field(repr=False)
    finite: float


def measure(curves: Curves, end: int) -> Measured:
    """Measure a run up to a step."""
    curves = curves.until(end)
    steps, losses = curves.steps["loss/train"], curves.values["loss/train"]
    parts = [losses[(steps > end * i / BLOCKS) & (steps <= end * (i + 1) / BLOCKS)] for i in range(BLOCKS)]
    blocks = np.asarray([_median(part).value for part in parts])
    last = losses[steps > (1 - END) * end]
    numbers = {"train-end": _median(last)}
    if np.isfinite(blocks).any():
        numbers["train-floor"] = _median(parts[int(np.nanargmin(blocks))])
    start, finish = _median(losses[:START]), numbers["train-end"]
    numbers["improvement"] = Number(start.value - finish.value, math.hypot(start.se, finish.se))
    val, accuracy = (x[np.isfinite(x)] for x in (curves.values["loss/val"], curves.values["accuracy/val"]))
    if val.size:
        numbers["val-best"], numbers["val-end"] = Number(float(val.min())), Number(float(np.median(val[-3:])))
    if accuracy.size:
        numbers["accuracy-best"] = Number(float(accuracy.max()))
    norms = curves.values["grad/norm"]
    norms = np.log10(norms[np.isfinite(norms) & (norms > 0)])
    if norms.size:
        numbers["gradient-scale"] = _median(norms)
    finite = float(np.isfinite(last).mean()) if last.size else math.nan
    return Measured({k: n for k, n in numbers.items() if math.isfinite(n.value)}, start.value, blocks, finite)


def _median(values: Array) -> Number:
    """Median of the finite values; its error from successive differences, so that a trend is no noise."""
    values = values[np.isfinite(values)]
    if not values.size:
        return Number(math.nan)
    spread = 1.4826 * float(np.median(np.abs(np.diff(values)))) / math.sqrt(2) if values.size > 1 else 0.0
    return Number(float(np.median(values)), MEDIAN_SE * spread / math.sqrt(values.size))
