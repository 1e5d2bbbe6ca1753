"""``updates/unequal``: of optimizers that compete one hardly moves, or runs away."""

from __future__ import annotations

import math
from statistics import median
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors._outrun import FIRST_STEPS, Outrun, most_dead
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

SETTLE_STEPS = 60  # before it says nothing: warm-ups, Adam's first steps
ROW = 3  # samples in a row
APART = 2.0  # times as far as the other: else both are too fast, which is another rule's
DIED = 0.3  # share of dead units: 0.14 at most in generators of healthy GANs, 0.31 and more where the start was lost


class UpdateUnequal(Detector):
    """Of optimizers that follow losses of their own one changes its weights far less than another, or runs away.

    Catches:
        A discriminator that can't keep up with its generator, or the other way round: the one that moves has won before
        the other has learned anything, and no loss shows it. A learning rate at which one throws its own network away.

    Formula:
        of each optimizer the median over ``samples`` of its own last steps' ``update/optimizer_ratio``, the norm of
        the step over that of its weights; the largest of these over the smallest. Beside it ``moved``: of each one's
        weight matrices the median of ``|W_t - W_1| / max(|W_t|, half the default initialization's norm)``, its largest
        in the first 30 steps; and the largest share of dead units among the modules beside its parameters.

    Reads:
        ``update/optimizer_ratio`` where sampled, ``lr weight/distance weight/parameter_norm activation/dead_frac``
        beside it.

    Args:
        ratio: times that one moves more than the other; higher = only far larger differences. Default 20: six healthy
            GANs had 3.1 at most, two time scales (Heusel et al.) ask for 4, a generator's rate 30 times larger gave 11
            and did no sure harm, a discriminator's 100 times smaller 96 and more after 20 samples, and no mode was
            covered.
        samples: samples of each the median runs over; higher = later, quieter. Default 20.
        replaced: ``moved`` from which little is left of the weights' start; higher = fewer warnings. Default 0.7: 0.48
            at most in 15 healthy GANs, 0.64 for a critic that steps five times as often, 0.88 to 1.21 with a
            generator's learning rate 30 times larger, 0.56 to 1.07 with one 10 times larger.

    Fires when:
        a warning from step 60 on, when the ratio holds three samples in a row and no learning rate is at a new peak;
        or when weights were ``replaced`` and 30 % of the units of one of their modules are dead, three samples in a
        row. Not judged where all optimizers step on one loss.

    False alarms:
        Parts that are meant to stand nearly still. None in the healthy runs of the fault zoo's GANs and of
        `benchmarks/results/several_optimizers.md`.

    Cost:
        3 µs a sample.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(optimizers=("Adam", "Adam"), shared_loss=False)
        >>> detector = UpdateUnequal()
        >>> for step in range(1, 200, 5):
        ...     values = {"update/optimizer_ratio": np.array([1e-2, 2e-4])}
        ...     try:
        ...         found = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         break
        >>> step, found.where, round(found.evidence["value"])
        (106, ('Adam 1',), 50)

    References:
        Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017 (arXiv:1706.08500); Arjovsky and
        Bottou, Towards principled methods for training generative adversarial networks, ICLR 2017 (arXiv:1701.04862).
    """

    rule: ClassVar[str] = "updates/unequal"
    code: ClassVar[str] = "U005"
    reads: ClassVar[tuple[str, ...]] = ("update/optimizer_ratio",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "One optimizer outruns the other"
    refresh: ClassVar[bool] = True

    def __init__(self, ratio: float = 20.0, samples: int = 20, replaced: float = 0.7) -> None:
        self.ratio = number("ratio", ratio, 1)
        self.samples = whole("samples", samples, 3)
        self.replaced = number("replaced", replaced, 0)
        super().__init__()

    def _reset(self) -> None:
        self._moved: list[list[float]] = []  # the last ratios of each optimizer
        self._rates = LrWatch()
        self._outrun = Outrun()
        self._row = 0
        self._dying = 0  # samples in a row

    def update(self, reading: Reading) -> Finding | None:
        """Compare the optimizers' steps."""
        self._rates.see(reading)
        ratios = reading.vector("update/optimizer_ratio")
        if ratios is None or len(ratios) < 2:
            raise NotMeasurable("there is one optimizer")
        self._outrun.see(reading)
        if reading.facts.shared_loss is not False:
            raise NotMeasurable("all optimizers step on one loss, or which they follow isn't known")
        if len(self._moved) != len(ratios):
            self._moved = [[] for _ in ratios]
        for last, ratio in zip(self._moved, ratios.tolist(), strict=True):
            if math.isfinite(ratio) and ratio > 0:  # it rested otherwise
                last.append(ratio)
                del last[: -self.samples]
        return self._ran(reading) or self._slow(reading)

    def _ran(self, reading: Reading) -> Finding | None:
        """Whether one has replaced its weights, the other has not, and units died of it."""
        far = self._outrun.moved
        fast = far.index(max(far)) if far else 0
        dead, module = most_dead(reading, fast)
        holds = bool(far) and far[fast] > max(self.replaced, APART * min(far)) and dead >= DIED
        self._dying = self._dying + 1 if holds else 0
        if self._dying < ROW:
            return None
        names = reading.facts.optimizer_names
        return self.found(
            reading,
            Severity.WARNING,
            f"Within {FIRST_STEPS} steps {names[fast]} moved its weights by {far[fast]:.3g} of their size away from "
            f"their start (median over weight matrices, limit {self.replaced:g}), {names[far.index(min(far))]} by "
            f"{min(far):.3g}, and {percent(dead)} of the units of {module} are dead (limit {percent(DIED)}).",
            where=(names[fast], module),
            evidence={"value": far[fast], "limit": self.replaced, "least": min(far), "dead": dead},
            advice=(
                f"repeat the first 500 steps with a tenth of {names[fast]}'s learning rate: if {module}'s units stay "
                "alive, it was too high",
                f"warm {names[fast]}'s learning rate up over the first 5 % of the run",
            ),
        )

    def _slow(self, reading: Reading) -> Finding | None:
        """Whether one hardly moves beside another."""
        if min(map(len, self._moved)) < self.samples or reading.step < SETTLE_STEPS:
            raise NotMeasurable(f"fewer than {self.samples} samples of each optimizer's steps, or {SETTLE_STEPS} steps")
        if self._rates.rising(reading.step, SETTLE_STEPS):
            raise NotMeasurable("a learning rate is warming up")
        moved = [median(last) for last in self._moved]
        self._row = self._row + 1 if max(moved) > self.ratio * min(moved) else 0
        return self._finding(reading, moved) if self._row >= ROW else None

    def _finding(self, reading: Reading, moved: list[float]) -> Finding:
        names = reading.facts.optimizer_names
        least, most = min(moved), max(moved)
        slow, fast, times = moved.index(least), moved.index(most), most / least
        return self.found(
            reading,
            Severity.WARNING,
            f"{names[slow]} changes its weights by {least:.1e} of their size a step, {times:.0f} times "
            f"less than {names[fast]} (limit {self.ratio:g}, medians of {self.samples} samples).",
            where=(names[slow],),
            evidence={"value": times, "limit": self.ratio, "slow": least, "fast": most},
            advice=(
                f"give {names[slow]} a learning rate {times / 4:.0f} times as large for 500 steps, or {names[fast]} "
                "one as much smaller: if the samples (or rewards) get better, that was it",
                f"look whether all parameters of {names[slow]} get a gradient, and whether it is clipped or decays",
            ),
        )
