"""``activations/collapsed``: the network gives the same output for every input."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, Consequence
from lightning_diag.detectors._modules import arrays, first_called, named
from lightning_diag.detectors._streak import Streak
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

CHANCE = 0.97  # R from which the run has learned nothing
BEFORE = 30.0  # times the limit a module in the middle must have varied to have lost it ...
AFTER = 0.01  # ... and times the limit it may vary now: a gate that came to its end still varies a little


class ActivationCollapsed(Detector):
    """The network gives the same output for every input: nothing of the input reaches its end.

    Catches:
        Weights initialized to zero, a dead or saturated layer in the middle, a sigmoid stack that averages everything
        away, an embedding that is never looked up.

    Formula:
        Per module, root mean square deviation of each unit (and position) over the samples of a batch, relative to the
        root mean square of the output, below ``limit``; judged at the module that is called last, and followed back
        through the modules before it. Beside it: modules in the middle that lost a variation they once had (30 times
        ``limit``, now below a hundredth of it).

    Reads:
        ``activation/variation activation/call_order`` where sampled, ``loss/relative`` beside them.

    Args:
        limit: variation below which outputs count as equal; higher = more notes. Default 1e-3: the smallest in a
            healthy training's last module is 7e-3 (a sigmoid output in the first steps).
        samples: samples in a row; higher = later and quieter. Default 10.
        stuck: R (``loss/relative``) above which the run suffers; higher = fewer warnings. Default 0.9.

    Fires when:
        the module called last is collapsed at ``samples`` samples in a row (info); a warning when R > ``stuck`` after
        2 % of the plan (60 to 1,000 steps; 12 when R > 0.985) and not in a warm-up, critical when R > 0.97. A module in
        the middle that lost its variation: info. One that never varied while the output does is built that way
        (learned queries): silent.

    False alarms:
        No warning in 72 healthy trainings of 36 kinds, no note either (benchmarks/results/activation_rules.md).
        Regression targets that vary by less than 0.1 % of their size give an info. Batches of one sample are not
        judged. Recall on the harmful planted faults: 14 of 14.

    Cost:
        28 µs a sample of 50 modules, 43 µs while it holds.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=500, chance_loss=2.3, names={"module": ("net.1", "net.3", "net.4")})
        >>> rng, detector = np.random.default_rng(0), ActivationCollapsed()
        >>> for step in range(1, 101):
        ...     varies = np.array([0.5, 1e-5, 1e-6]) * rng.lognormal(0, 0.3, 3)
        ...     values = {"activation/variation": varies, "loss/relative": np.float64(1.0)}
        ...     finding = detector.update(Reading(step, 0, values, facts))
        ...     if finding is not None and step in (10, 60):
        ...         print(step, finding.severity, finding.where)
        10 info ('net.3', 'net.4')
        60 critical ('net.3', 'net.4')

    References:
        Lu et al., Dying ReLU and initialization, 2019 (arXiv:1903.06733): a network born dead is a constant function;
        Schoenholz et al., Deep information propagation, ICLR 2017 (arXiv:1611.01232): depth at which inputs merge.
    """

    rule: ClassVar[str] = "activations/collapsed"
    code: ClassVar[str] = "A004"
    reads: ClassVar[tuple[str, ...]] = ("activation/variation",)
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Same output for every input"

    def __init__(self, limit: float = 1e-3, samples: int = 10, stuck: float = 0.9) -> None:
        self.limit = number("limit", limit, 0)
        self.samples = whole("samples", samples, 1)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=AT_ONCE_STEPS)
        self._held = Streak()
        self._most = np.zeros(0)  # each module's largest variation so far

    def update(self, reading: Reading) -> Finding | None:
        """Judge how much outputs differ between samples."""
        self._run.see(reading)
        try:
            (varies,) = arrays(reading, "activation/variation")
        except NotMeasurable:
            if "activation/variation" in reading.facts.unmeasured:
                raise
            raise NotMeasurable("no module has given a finite output for two samples or more in one batch") from None
        known = np.isfinite(varies)
        if not known.any():
            raise NotMeasurable("no output is finite")
        if self._most.shape != varies.shape:
            self._most = np.zeros(varies.shape)
        self._held.see(reading.step, known & (varies < self.limit), known)
        lasting = self._held.lasting(reading.step, samples=self.samples, steps=self.samples)
        order = first_called(reading, known)
        tail = _tail(order, lasting)
        lost = lasting & (varies < AFTER * self.limit) & (self._most > BEFORE * self.limit)
        self._most = np.fmax(self._most, np.where(known, varies, 0.0))
        if tail:
            return self._finding(reading, tail, varies[tail[-1]], whole=True)
        if lost.any():
            indices = first_called(reading, lost)
            return self._finding(reading, indices, varies[indices[0]], whole=False)
        return None

    def _finding(self, reading: Reading, indices: list[int], value: float, *, whole: bool) -> Finding:
        run = self._run
        severity = Severity.INFO
        if whole and run.stuck(self.stuck):
            severity = Severity.CRITICAL if run.stuck(CHANCE) else Severity.WARNING
        suffers = severity > Severity.INFO
        where = named(reading, indices)
        last = named(reading, indices[-1:])[0]
        mask = np.zeros(len(self._held.count), dtype=bool)
        mask[indices] = True
        said = f"from {where[0]} on" if whole else f"at {where[0]}"
        return self.found(
            reading,
            severity,
            f"The network computes the same for every input {said}: between the samples of a batch, "
            f"{last if whole else where[0]} varies by {value:.1g} times its size (limit {self.limit:g}, {self.samples} "
            f"samples in a row)"
            + run.in_words(suffers) + ".",
            where=where,
            evidence={
                "value": float(value),
                "limit": self.limit,
                "modules": len(indices),
                "relative_loss": run.relative,
            },
            advice=(
                f"look at the weights before {where[0]} (all zero, or all equal?) and at its inputs on one batch: do "
                "they differ between samples?",
                f"re-draw the initial weights, set hidden biases to 0 and compare the output of {where[0]} for two "
                "inputs at step 0",
                f"put a normalization layer before {where[0]}, or a skip connection around it, for 200 steps",
            ),
            step=self._held.first(mask),
        )  # fmt: skip


def _tail(order: list[int], lasting: NDArray[np.bool_]) -> list[int]:
    """The modules at the end of the forward pass that are all collapsed, in the order of their calls.

    >>> _tail([2, 0, 1, 3], np.array([True, True, True, True]) & (np.arange(4) != 0))
    [1, 3]
    """
    tail: list[int] = []
    for index in reversed(order):
        if not lasting[index]:
            break
        tail.insert(0, index)
    return tail
