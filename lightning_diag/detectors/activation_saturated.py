"""``activations/saturated``: a layer's outputs are stuck at the ends of its function."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, Consequence
from lightning_diag.detectors._modules import and_more, arrays, first_called, named
from lightning_diag.detectors._streak import Streak
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading, Value


class ActivationSaturated(Detector):
    """A hidden layer's outputs are stuck at the ends of its function, where it passes no gradient.

    Catches:
        Inputs that were not scaled, initial weights too large for tanh or sigmoid, a learning rate that blew them up.

    Formula:
        Two-sided functions only (tanh, sigmoid, hardtanh, softsign ...; GELU or ReLU with one flat side belong to
        ``activations/dead``), and only layers that feed another one of fitting size: outputs and gates are meant to
        saturate. Per module: share of values where ``|f'|`` is below 5 % of its maximum (tanh: ``|y| > 0.975``), and
        share of units there in 95 % of their rows; running means over ``samples`` samples.

    Reads:
        ``activation/saturated_frac activation/saturated_units_frac activation/call_order`` where sampled,
        ``loss/relative loss/level loss/best`` beside them.

    Args:
        values: share of values from which a layer counts; higher = fewer notes. Default 0.6: the largest share in a
            healthy training is 0.15, with harmless initial gains up to 0.5; a gain that costs 30 points reaches 0.73.
        units: share of units from which it counts; higher = fewer notes. Default 0.5: healthy 0.05 at most.
        samples: samples a running mean goes back; higher = later and quieter. Default 10.
        stuck: R (``loss/relative``) above which the run suffers; higher = fewer warnings. Default 0.5.

    Fires when:
        either share is reached after ``samples`` samples or more (info); a warning when R > ``stuck`` after 2 % of the
        plan (60 to 1,000 steps; 12 when R > 0.985) and not in a warm-up, or the loss is far above its best.

    False alarms:
        No warning in 72 healthy trainings of 36 kinds, no note either (benchmarks/results/activation_rules.md). A
        gate that feeds a layer of its own size directly is taken for a hidden layer. Recall on the harmful planted
        faults: 14 of 14.

    Cost:
        21 µs a sample of 50 modules, 50 µs while it holds.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=500, chance_loss=2.3, names={"module": ("net.1", "net.3")})
        >>> rng, detector = np.random.default_rng(0), ActivationSaturated()
        >>> for step in range(1, 101):
        ...     share = np.array([0.9, 0.1]) + rng.uniform(-0.05, 0.05, 2)
        ...     values = {"activation/saturated_frac": share, "activation/saturated_units_frac": share / 2}
        ...     values["loss/relative"] = np.float64(0.8)
        ...     finding = detector.update(Reading(step, 0, values, facts))
        ...     if finding is not None and step in (10, 60):
        ...         print(step, finding.severity, finding.where)
        10 info ('net.1',)
        60 warning ('net.1',)

    References:
        Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010;
        Rakitianskaia & Engelbrecht, Measuring saturation in neural networks, SSCI 2015.
    """

    rule: ClassVar[str] = "activations/saturated"
    code: ClassVar[str] = "A002"
    reads: ClassVar[tuple[str, ...]] = ("activation/saturated_units_frac",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Saturated activations"

    def __init__(self, values: float = 0.6, units: float = 0.5, samples: int = 10, stuck: float = 0.5) -> None:
        self.values = number("values", values, 0.01, 1)
        self.units = number("units", units, 0.01, 1)
        self.samples = whole("samples", samples, 1)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=AT_ONCE_STEPS)
        self._held = Streak()
        self._seen = np.zeros(0)  # samples of each module
        self._means = np.zeros((2, 0))  # running means of the two shares

    def update(self, reading: Reading) -> Finding | None:
        """Judge the shares of saturated values and units."""
        self._run.see(reading)
        units, values = arrays(reading, "activation/saturated_units_frac", "activation/saturated_frac")
        known = ~np.isnan(units)
        if not known.any():
            raise NotMeasurable("no hidden layer has a function with two flat ends")
        values, units = self._smoothed(values, units, known)
        mask = (self._seen >= self.samples) & ((values >= self.values) | (units >= self.units))
        self._held.see(reading.step, mask, known)
        if not mask.any():
            return None
        indices = sorted(first_called(reading, mask), key=lambda i: -values[i])
        worst, run = indices[0], self._run
        by_values = bool(values[worst] >= self.values) or not units[worst] >= self.units
        value, limit = (values[worst], self.values) if by_values else (units[worst], self.units)
        suffers = run.stuck(self.stuck) or (run.ripe and run.diverging())
        where = named(reading, indices)
        what = "values" if by_values else "units"
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"{percent(value)} of the {what} of {where[0]} lie where its function is flat (limit {percent(limit)}, "
            f"mean of {self.samples} samples){and_more(len(indices))}"
            + run.in_words(suffers) + ".",
            where=where,
            evidence={
                "value": float(value),
                "limit": limit,
                "values_frac": float(values[worst]),
                "units_frac": float(units[worst]),
                "modules": len(indices),
                "relative_loss": run.relative,
            },
            advice=(
                f"print mean and standard deviation of what goes into {where[0]}: scale the inputs of the network to "
                "unit variance and draw the weights before it with Xavier initialization",
                "repeat the first 200 steps with a tenth of the learning rate: if the share falls, that was it",
                f"put a normalization layer before {where[0]}, or GELU in its place: compare the loss after 200 steps",
            ),
            step=self._held.first(mask),
        )  # fmt: skip

    def _smoothed(self, values: Value, units: Value, known: NDArray[np.bool_]) -> Value:
        """Take in one sample of both shares ``(M,)``; return their running means ``(2, M)``."""
        if self._seen.shape != known.shape:
            self._seen, self._means = np.zeros(known.shape), np.zeros((2, len(known)))
        self._seen += known
        weight = known / np.clip(self._seen, 1, self.samples)
        self._means += weight * (np.where(known, [values, units], 0.0) - self._means)
        return self._means
