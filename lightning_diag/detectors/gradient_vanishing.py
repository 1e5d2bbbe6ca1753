"""``gradients/vanishing``: the gradient does not reach the first layers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import Consequence
from lightning_diag.detectors._parameters import NAMED, arrays, matrices, named, sizes
from lightning_diag.detectors._streak import Streak
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading, Value
from lightning_diag.streaming.sorted_window import SortedWindow

MIN_LAYERS = 3  # fewer make no profile over depth


class GradientVanishing(Detector):
    """The gradient does not reach the first layers: weights there stay what they were at the start.

    Catches:
        Deep sigmoid or tanh stacks, initial weights far too small, a layer of dead units (gradient exactly 0).

    Formula:
        Over the weight matrices an optimizer holds, in registration order, with ``rho_l = log10(|g_l| / |W_l|)``:
        ``span = rho_last - max_{l <= weakest} rho_l``: none of the layers from the first to the weakest gets more, or
        the gradient goes around (a gate beside the main path, a block of a residual network). Or the same over root
        mean square gradients where that is smaller (new, growing weights such as LoRA's blow up the first form only).
        Counted as 0 unless ``min_l rho_l < weak_log10``. Median over ``samples`` samples. Beside it: matrices whose
        gradient was exactly 0 at each of ``samples`` samples.

    Reads:
        ``grad/parameter_norm weight/parameter_norm grad/missing update/parameter_ratio lr`` where sampled,
        ``loss/relative`` beside them.

    Args:
        span_decades: decades between the last and the weakest layer; higher = only deeper losses. Default 2.5:
            healthy trainings reach 1.2 (a residual network; ReZero 3.6 in its first steps), sigmoid stacks of depth 4
            and 8 reach 3.2 and 6.6, weights that a learning rate threw out 2.3.
        weak_log10: log10 of gradient over weight below which a layer counts as weak; higher = also layers that still
            move. Default -3.
        samples: samples the median runs over; higher = later and quieter. Default 20.
        stuck: R (``loss/relative``) above which the run is not learning; higher = fewer warnings. Default 0.9.
        still_log10: log10 of the weakest layer's update ratio below which it doesn't move; higher = more warnings.
            Default -4.5.
        slow: R above which a layer that doesn't move is a consequence; higher = fewer warnings. Default 0.5.
        constant: R above which gradients of exactly 0 are a consequence; higher = fewer warnings. Default 0.97: behind
            a dead layer a network answers a constant and can't be better than chance.

    Fires when:
        ``span > span_decades`` (info), a warning when R > ``stuck`` after 2 % of the plan (60 to 1,000 steps, 200
        without a plan) and not in a warm-up, or when R > ``slow`` and the weakest layer's update ratio is below ``10
        ** still_log10``. Gradients exactly 0: the same with R > ``constant`` where the first matrix is one of them.

    False alarms:
        No warning in any of the 165 healthy and harmless trainings of ``benchmarks/results/gradient_rules.md``; info
        in 3 (ReZero: gates at 0 close the first layers for some steps). A warning in all of its sigmoid stacks of
        depth 4 and 8, networks of dead units and deep networks with weights of 0 or a tenth of their scale. Frozen,
        tied, embedding and norm parameters don't count. Non-finite gradients are skipped.

    Cost:
        38 µs a reading of 1,000 parameters.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> names = tuple(f"net.{i}.weight" for i in range(4))
        >>> kinds = ("matrix",) * 4
        >>> facts = Facts(planned_steps=500, chance_loss=2.3, names={"parameter": names}, parameter_kind=kinds)
        >>> rng, detector = np.random.default_rng(0), GradientVanishing()
        >>> for step in range(1, 101):
        ...     g = np.array([1e-7, 1e-5, 1e-3, 1e-1]) * rng.lognormal(0, 0.3, 4)
        ...     values = {"grad/parameter_norm": g, "weight/parameter_norm": np.ones(4)}
        ...     values["loss/relative"] = np.float64(1.0)
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if finding is not None and step in (20, 60):
        ...         print(step, finding.severity, finding.where)
        20 info ('net.0.weight', 'net.1.weight')
        60 warning ('net.0.weight', 'net.1.weight')

    References:
        Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010; Zhang
        et al., AUTOTRAINER, ICSE 2021, ratio of first to last layer; You et al., LARS, 2017 (arXiv:1708.03888),
        gradient over weight norm as the scale-free size.
    """

    rule: ClassVar[str] = "gradients/vanishing"
    code: ClassVar[str] = "G001"
    reads: ClassVar[tuple[str, ...]] = ("grad/parameter_norm",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Vanishing gradient"
    by_optimizer: ClassVar[bool] = True

    def __init__(
        self,
        span_decades: float = 2.5,
        weak_log10: float = -3.0,
        samples: int = 20,
        stuck: float = 0.9,
        still_log10: float = -4.5,
        slow: float = 0.5,
        constant: float = 0.97,
    ) -> None:
        self.span_decades = number("span_decades", span_decades, 0.5)
        self.weak_log10 = number("weak_log10", weak_log10, -30, 0)
        self.samples = whole("samples", samples, 3)
        self.stuck = number("stuck", stuck, 0)
        self.still_log10 = number("still_log10", still_log10, -30, 0)
        self.slow = number("slow", slow, 0)
        self.constant = number("constant", constant, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence()
        self._spans = SortedWindow(self.samples)
        self._zero = Streak()

    def update(self, reading: Reading) -> Finding | None:
        """Judge the depth profile of this step."""
        self._run.see(reading)
        grad, weight = arrays(reading, "grad/parameter_norm", "weight/parameter_norm")
        layers = matrices(reading.facts)
        missing = reading.vector("grad/missing")
        if missing is not None:
            layers = layers[missing[layers] == 0]  # NaN: not measured, its optimizer did not step
        g, w = grad[layers], weight[layers]
        if not np.isfinite(g).all() or not np.isfinite(w).all():
            raise NotMeasurable("the gradient was not finite at every sample so far")
        zero = self._zeros(reading, layers, g)
        if zero is not None:
            return zero
        there = (g > 0) & (w > 0)
        if there.sum() < MIN_LAYERS:
            raise NotMeasurable(f"a profile over depth needs {MIN_LAYERS} weight matrices that get a gradient")
        layers, rho, depth = layers[there], np.log10(g[there] / w[there]), np.log10(g[there])
        if len(reading.facts.parameter_numel) == len(grad):
            depth -= 0.5 * np.log10(sizes(reading.facts.parameter_numel)[layers])
        weakest = int(rho.argmin())
        span = min(float(profile[-1] - profile[: weakest + 1].max()) for profile in (rho, depth))
        self._spans.push(span if rho[weakest] < self.weak_log10 else 0.0)
        if not self._spans.full:
            raise NotMeasurable(f"fewer than {self.samples} samples")
        if self._spans.median() <= self.span_decades:
            return None
        return self._profile(reading, layers, rho)

    def _profile(self, reading: Reading, layers: NDArray[np.intp], rho: Value) -> Finding:
        order = np.argsort(rho)
        weak = [int(i) for i in order if rho[-1] - rho[i] > self.span_decades] or [int(order[0])]
        where = tuple(named(reading, int(layers[i])) for i in weak[:NAMED])
        span, run = self._spans.median(), self._run
        ratios = reading.vector("update/parameter_ratio")
        still = ratios is not None and 0 <= ratios[layers[weak[0]]] < 10**self.still_log10
        suffers = run.stuck(self.stuck) or (still and run.ripe and run.known and run.relative > self.slow)
        last = named(reading, int(layers[-1]))
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"The gradient of {where[0]}{' and of all before it' if order[0] else ''}, relative to its weights, is "
            f"{span:.3g} decades (median over {self.samples} samples, limit {self.span_decades:g}) below that of {last}"
            + run.in_words(suffers) + ".",
            where=where,
            evidence={
                "value": span,
                "limit": self.span_decades,
                "weakest_log10": float(rho[weak[0]]),
                "layers": len(weak),
                "relative_loss": run.relative,
            },
            advice=(
                "train 200 steps with ReLU or GELU instead of saturating activations, or with a normalization layer "
                f"before each: the gradient norm of {where[0]} should come within 2 decades of the last layer's",
                "re-draw the initial weights for the activation in use (He for ReLU, Xavier for tanh) and compare the "
                "same profile at step 20",
                "put a skip connection around every second layer; halve the depth as a control",
            ),
        )  # fmt: skip

    def _zeros(self, reading: Reading, layers: NDArray[np.intp], g: Value) -> Finding | None:
        """Matrices without any gradient at all, although they are part of the graph."""
        holds = np.zeros(len(reading.facts.parameter_kind), dtype=bool)
        known = holds.copy()
        holds[layers], known[layers] = g == 0, True
        self._zero.see(reading.step, holds, known)
        mask = self._zero.lasting(reading.step, samples=self.samples, steps=self.samples)
        if not mask.any():
            return None
        around = not (len(layers) and mask[layers[0]])  # the first gets its gradient, past those that get none
        suffers, dead = self._run.stuck(self.constant) and not around, np.flatnonzero(mask)
        where = tuple(named(reading, int(i)) for i in dead[::-1][:NAMED])  # the last is the nearest to the cause
        count, total = len(dead), len(matrices(reading.facts))
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"The gradient is exactly 0 in {count} of {total} weight matrices (limit 0) at each of the last "
            f"{int(self._zero.count[mask].min())} samples, the last of them {where[0]}"
            + self._run.in_words(suffers)
            + ".",
            where=where,
            evidence={"value": count, "limit": 0, "relative_loss": self._run.relative},
            advice=(
                f"look at the activations right after {where[0]} on one batch: all zero or all equal means dead units, "
                "or weights that were all initialized to one value",
                "re-draw the initial weights (never all zero or all equal) and set hidden biases to 0, then look at "
                "the same norms after 20 steps",
                "if the layers died during training, repeat from the start with a tenth of the learning rate",
            ),
            step=self._zero.first(mask),
        )
