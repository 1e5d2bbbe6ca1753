"""``activations/dead``: most units of a layer are never active."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, Consequence
from lightning_diag.detectors._modules import and_more, arrays, first_called, named
from lightning_diag.detectors._trend import of_task
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading, Value

CHANCE = 0.97  # R from which the run has learned nothing
MANY = 0.8  # share of units that died while it was trained from which classes or numbers should be learned better ...
LEARNED = 0.1  # ... than to this R. A language model's stays far above it, and its first layers may have as many dead.
SOON = 0.5  # share of the plan by which a learning rate has killed them; what is learned grows sparse later on
ALL = 0.999  # share from which nothing passes: a loss below ``stuck`` goes another way (a gate, a residual)
ROWS = 1000  # rows of the probe's window


class ActivationDead(Detector):
    """Most units of a layer are never active: they give nothing and get no gradient.

    Catches:
        Biases far below zero, a learning rate that threw the weights out of reach, inputs with a large offset.

    Formula:
        Share of a module's units that were in the off region of its function (ReLU: exactly 0; GELU, SiLU, ELU ...:
        ``|f'|`` below 5 % of its maximum) for every one of the last 1,000 rows and 20 sampled batches. A unit that is
        zero for half of the inputs, or dropped out, is alive.

    Reads:
        ``activation/dead_frac activation/window_samples activation/call_order`` where sampled, ``loss/relative
        loss/level loss/best`` beside them.

    Args:
        limit: share from which it is noted; higher = fewer notes. Default 0.7: the largest share in a healthy training
            is 0.66 (codes of a small autoencoder); published counts for large ReLU language models reach 0.7 in their
            first layers.
        warn_at: share that makes a warning of it, if the run suffers; higher = fewer warnings. Default 0.85.
        stuck: R (``loss/relative``) above which it does; higher = fewer warnings. Default 0.5.

    Fires when:
        share >= ``limit`` (info); a warning when share >= ``warn_at`` and R > ``stuck`` after 2 % of the plan (60 to
        1,000 steps; 12 when R > 0.985) and not in a warm-up, or the loss is far above its best; critical when 95 % are
        dead and R > 0.97. Also a warning when 80 %, but not all, died after the first look and before half of the plan,
        and R, of classes or numbers, is above 0.1 by then (planted faults: at 0.11 to 0.4 of the plan; squeezes of a
        few units fell silent from 0.6 on in runs that did as well as others).

    False alarms:
        No warning in 72 healthy trainings of 36 kinds, no note either (benchmarks/results/activation_rules.md); one
        note in the 72 that limits were chosen on (a squeeze layer of 8 units, 75 % dead). Modules that are never called
        and the first 20 sampled batches aren't judged. Recall on the harmful planted faults: 24 of 24 found, 23 as a
        warning.

    Cost:
        7 µs a sample of 50 modules, 36 µs while it holds.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=500, chance_loss=2.3, names={"module": ("net.1", "net.3")})
        >>> rng, detector = np.random.default_rng(0), ActivationDead()
        >>> for step in range(1, 101):
        ...     dead = np.array([0.1, 0.02 * step]).clip(0, 1) + rng.uniform(-0.01, 0.0, 2)
        ...     values = {"activation/dead_frac": dead, "loss/relative": np.float64(1.0)}
        ...     finding = detector.update(Reading(step, 0, values, facts))
        ...     if finding is not None and step in (36, 60):
        ...         print(step, finding.severity, finding.where)
        36 info ('net.3',)
        60 critical ('net.3',)

    References:
        Lu et al., Dying ReLU and initialization, 2019 (arXiv:1903.06733); Sokar et al., The dormant neuron phenomenon,
        ICML 2023 (arXiv:2302.12902); Voita et al., Neurons in large language models, 2023 (arXiv:2309.04827); Li et
        al., The lazy neuron phenomenon, ICLR 2023 (arXiv:2210.06313): activations grow sparse while they are learned.
    """

    rule: ClassVar[str] = "activations/dead"
    code: ClassVar[str] = "A001"
    reads: ClassVar[tuple[str, ...]] = ("activation/dead_frac",)
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Dead units"

    def __init__(self, limit: float = 0.7, warn_at: float = 0.85, stuck: float = 0.5) -> None:
        self.limit = number("limit", limit, 0.01, 1)
        self.warn_at = number("warn_at", warn_at, self.limit, 1)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=AT_ONCE_STEPS)
        self._at_first = np.zeros(0)  # each module's first share: dead from birth, or did they die?

    def update(self, reading: Reading) -> Finding | None:
        """Judge the shares of dead units."""
        self._run.see(reading)
        dead = _judged(reading)
        if self._at_first.shape != dead.shape:
            self._at_first = np.full(dead.shape, np.nan)
        self._at_first = np.where(np.isnan(self._at_first), dead, self._at_first)
        over = dead >= self.limit  # NaN is not
        if not over.any():
            return None
        indices = sorted(first_called(reading, over), key=lambda i: -dead[i])
        value, run = float(dead[indices[0]]), self._run
        where = named(reading, indices)
        born = bool(self._at_first[indices[0]] >= self.limit)
        severity = self._severity(value)
        if not born and MANY <= value < ALL and run.relative > of_task(reading, LEARNED, LEARNED, math.inf):
            soon = run.ripe and not (reading.progress or 0) > SOON
            severity = max(severity, Severity.WARNING if soon else Severity.INFO)
        suffers = severity > Severity.INFO
        limit = self.limit if not suffers else self.warn_at if value >= self.warn_at else MANY
        return self.found(
            reading,
            severity,
            f"{percent(value)} of the units of {where[0]} were never active in the last 1,000 rows and 20 sampled "
            f"batches (limit {percent(limit)}){and_more(len(indices))}"
            + run.in_words(suffers) + ".",
            where=where,
            evidence={
                "value": value,
                "limit": limit,
                "at_first": float(self._at_first[indices[0]]),
                "modules": len(indices),
                "relative_loss": run.relative,
            },
            advice=_advice(where[0], born=born),
        )  # fmt: skip

    def _severity(self, value: float) -> Severity:
        if value < self.warn_at:
            return Severity.INFO
        if value >= 0.95 and self._run.stuck(CHANCE):
            return Severity.CRITICAL
        suffers = self._run.stuck(self.stuck) or (self._run.ripe and self._run.diverging())
        return Severity.WARNING if suffers else Severity.INFO


def _judged(reading: Reading) -> Value:
    """Shares of dead units ``(M,)``, or why there are none yet."""
    try:
        return arrays(reading, "activation/dead_frac")[0]
    except NotMeasurable:
        rows = reading.vector("activation/window_samples")
        if "activation/dead_frac" in reading.facts.unmeasured or rows is None or np.isnan(rows).all():
            raise
        if np.nanmax(rows) < ROWS:
            raise NotMeasurable("fewer than 1,000 rows were seen") from None
        raise NotMeasurable(
            "no unit can die (no ReLU, GELU, SiLU ...), or fewer than 20 batches were sampled"
        ) from None


def _advice(name: str, *, born: bool) -> tuple[str, ...]:
    cause = (
        f"look at the biases and inputs of the layer before {name} at step 0: they were dead from the start, so set "
        "the biases to 0, use He initialization and subtract the mean of the inputs",
        "repeat the first 200 steps with a tenth of the learning rate (and a warm-up): they died during training",
    )
    return (
        *(cause if born else cause[::-1]),
        f"put a normalization layer before {name}, or LeakyReLU in its place, for 200 steps: if the loss falls now, "
        "that was it",
    )
