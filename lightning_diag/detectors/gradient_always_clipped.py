"""``gradients/always-clipped``: gradient clipping limits (almost) every step."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._ahead import EARLY, LEFT, Ahead
from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import Consequence
from lightning_diag.detectors._parameters import scale_free
from lightning_diag.detectors._trend import of_task
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.sorted_window import SortedWindow

Z = 1.96  # two-sided 95 %
HALF = 0.5  # a learning rate decayed below this share of its peak slows a run down by itself


class GradientAlwaysClipped(Detector):
    """Gradient clipping limits (almost) every step, so the limit and not the gradient sets the step size.

    Catches:
        A ``gradient_clip_val`` far below the usual gradient norm: with SGD the learning rate is silently divided by
        ``norm / limit``.

    Formula:
        Wilson's lower bound (95 %) of the share of clipped steps among the last ``window`` samples, and the median
        ``shrink`` = norm before over norm after clipping.

    Reads:
        ``grad/clipped grad/norm grad/norm_after_clip lr`` where sampled, ``loss/relative`` beside them.

    Args:
        share: lower bound of the clipped share; higher = only runs that are clipped always. Default 0.9 (all of 50
            samples clipped give 0.93, 48 of 50 give 0.87).
        window: samples looked at; higher = slower and steadier. Default 100.
        samples: fewest samples to judge; higher = later. Default 50.
        shrink: median factor by which steps are shortened that can slow a run down; higher = fewer warnings. Default 2.
        stuck: R (``loss/relative``) above which the run is not learning; higher = fewer warnings. Default 0.9.
        target: R that the run should reach by its planned end; higher = fewer warnings. Default 0.5.

    Fires when:
        the bound passes ``share`` (info). A warning when an optimizer that is not scale-free is used, ``shrink`` is
        passed and R > ``stuck`` after 2 % of the plan, or R > ``target`` and, going on as fast as so far, still is at
        the planned end, or R after 0.3 of the plan is above what healthy runs have left (classes: 0.72, numbers: 0.95,
        language: 0.845), or the weights only go straight ahead (see ``updates/too-small``). With Adam and its kin
        always info: a constant factor on all gradients changes none of its steps.

    False alarms:
        No warning in any of the 165 healthy and harmless trainings of ``benchmarks/results/gradient_rules.md``; info
        in 3 (Adam clipped at 0.01). A warning in all 6 of SGD clipped at 0.01 and 0.001, which cost 24 and 79 points
        of accuracy.

    Cost:
        15 µs a reading.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=1000, clip_val=0.01, optimizers=("SGD",), chance_loss=2.3)
        >>> rng, detector = np.random.default_rng(0), GradientAlwaysClipped()
        >>> for step in range(1, 101):
        ...     norm = rng.lognormal(0, 0.3)
        ...     values = {"grad/clipped": np.float64(1), "grad/norm": norm, "grad/norm_after_clip": np.float64(0.01)}
        ...     values["loss/relative"] = np.float64(0.99)
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if finding is not None and step in (50, 60):
        ...         print(step, finding.severity, round(finding.evidence["shrink"]))
        50 info 103
        60 warning 103

    References:
        Pascanu, Mikolov & Bengio, ICML 2013 (arXiv:1211.5063); Wilson, Probable inference, JASA 1927; Mai & Johansson,
        Stability and convergence of stochastic gradient clipping, ICML 2021 (arXiv:2102.06489).
    """

    rule: ClassVar[str] = "gradients/always-clipped"
    code: ClassVar[str] = "G005"
    reads: ClassVar[tuple[str, ...]] = ("grad/clipped",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Always clipped"

    def __init__(
        self,
        share: float = 0.9,
        window: int = 100,
        samples: int = 50,
        shrink: float = 2.0,
        stuck: float = 0.9,
        target: float = 0.5,
    ) -> None:
        self.share = number("share", share, 0, 1)
        self.window = whole("window", window, 10)
        self.samples = whole("samples", samples, 5, self.window)
        self.shrink = number("shrink", shrink, 1)
        self.stuck = number("stuck", stuck, 0)
        self.target = number("target", target, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence()
        self._ahead = Ahead()
        self._clipped = SortedWindow(self.window)
        self._norms = SortedWindow(self.window)
        self._shrinks = SortedWindow(self.window)

    def update(self, reading: Reading) -> Finding | None:
        """Judge how often steps are clipped."""
        self._run.see(reading)
        self._ahead.see(reading)
        clipped, norm = reading.scalar("grad/clipped"), reading.scalar("grad/norm")
        if not (reading.facts.clip_val or clipped or any(self._clipped.sorted[-1:])):
            by_hand = "" if reading.facts.automatic_optimization else ", or done by hand before gradients can be seen"
            raise NotMeasurable(f"gradient clipping is off{by_hand}")
        after = reading.scalar("grad/norm_after_clip")
        if clipped is None or norm is None or after is None:
            raise NotMeasurable("clipping is not measured at this step")
        if not (math.isfinite(norm) and math.isfinite(after) and math.isfinite(clipped)):
            raise NotMeasurable("the gradient was not finite at every sample so far")
        self._clipped.push(float(clipped > 0))
        self._norms.push(norm)
        if after > 0:
            self._shrinks.push(norm / after)
        count = len(self._clipped)
        if count < self.samples:
            raise NotMeasurable(f"fewer than {self.samples} samples")
        bound = wilson(sum(self._clipped.sorted), count)
        return self._finding(reading, bound) if bound > self.share else None

    def _suffers(self, reading: Reading) -> bool:
        run = self._run
        if scale_free(reading.facts) or self._shrinks.median() <= self.shrink or not run.ripe:
            return False
        if run.stuck(self.stuck):
            return True
        slow = run.relative > self.target and run.projected(reading.facts) > self.target
        slow = slow or ((reading.progress or 0.0) >= EARLY and run.relative > of_task(reading, *LEFT)[0])
        slow = slow or self._ahead.sign(reading, run.relative) is not None
        return run.known and slow and run.rates.decay > HALF

    def _finding(self, reading: Reading, bound: float) -> Finding:
        suffers, facts = self._suffers(reading), reading.facts
        median, tenth, shrink = self._norms.median(), self._norms.quantile(0.9), self._shrinks.median()
        share = sum(self._clipped.sorted) / len(self._clipped)
        limit = f" at {facts.clip_val:g}" if facts.clip_val else ""
        loss = self._run.in_words(suffers)
        kin = f"; {facts.optimizers[0]} makes up for a constant factor" if scale_free(facts) else ""
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"Clipping{limit} shortens {percent(share)} of the steps (at least {percent(bound)} with 95 % confidence, "
            f"limit {percent(self.share)}), {shrink:.3g} times on the median of {median:.3g}{loss}{kin}.",
            evidence={
                "value": bound,
                "limit": self.share,
                "clipped_frac": share,
                "shrink": shrink,
                "norm_median": median,
                "norm_q90": tenth,
                "relative_loss": self._run.relative,
            },
            advice=_advice(tenth, shrink, facts.clip_algorithm),
        )


def wilson(hits: float, count: int) -> float:
    """Return Wilson's lower 95 % bound of a share.

    >>> round(wilson(50, 50), 3), round(wilson(45, 50), 3)
    (0.929, 0.786)
    """
    share, z2 = hits / count, Z * Z
    centre = share + z2 / (2 * count)
    spread = Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return (centre - spread) / (1 + z2 / count)


def _advice(tenth: float, shrink: float, algorithm: str | None) -> tuple[str, ...]:
    if algorithm == "value":
        first = f"clip by norm instead of by value, at {tenth:.3g}: that would clip one step in ten and keep directions"
    else:
        first = f"set gradient_clip_val={tenth:.3g} for 200 steps: that would clip one step in ten; compare the loss"
    return (first, f"or keep the limit and multiply the learning rate by {shrink:.2g}: with plain SGD that is the same")
