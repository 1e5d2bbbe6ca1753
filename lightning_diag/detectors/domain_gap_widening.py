"""``domains/gap-widening``: training goes on in one domain, the one that counts no longer follows."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._domain_evidence import evidence, points, says, scaled
from lightning_diag.detectors._domains import DomainDetector, Ladder
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class DomainGapWidening(DomainDetector):
    """The gap between the domains grows while the target no longer gets better.

    Catches:
        Training that specializes on the source: its error falls on, that of the target stands or rises.

    Formula:
        Over the last ``window`` validation passes (5 at least): Kendall's tau of the gap against time, one-sided and
        exact; the growth is Theil and Sen's slope times the passes. The target's own slope must not be below zero: a
        gap that widens because the source learns faster is no harm.

    Reads:
        ``domain/named``, ``domain/val_samples``, ``domain/val_sums``, ``domain/train_sums`` after each validation pass.

    Args:
        window: validation passes looked at. Higher = slower trends, later.
        alpha: p-value of Kendall's test. Higher = earlier, more false alarms. Default 0.01.
        effect: smallest growth of the gap over the window, as an error rate. Higher = only large growth. Default 0.03.
        sigmas: standard errors of one gap that the growth must exceed. Higher = more samples needed. Default 3.

    Fires when:
        all hold: warning if the target's error rose by more than two of its standard errors over the window, else info.

    False alarms:
        Gaps without a trend, as noisy as binomial errors make them: ``tests/detectors/test_domain_gap_widening.py``.

    Cost:
        O(window^2) a validation pass.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts, detector = Facts(names={"domain": ("synthetic", "real")}), DomainGapWidening()
        >>> for epoch in range(7):
        ...     wrong = np.array([60.0 - 8 * epoch, 100.0 + 10 * epoch])
        ...     sums = np.stack([np.full(2, 500.0), wrong, wrong, *np.zeros((3, 2))], 1)
        ...     values = {"domain/val_samples": np.full(2, 500.0), "domain/val_sums": sums}
        ...     try:
        ...         found = detector.update(Reading(100 * (epoch + 1), epoch, values, facts, stage="validation"))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         print(epoch, found.where, found.severity)
        ...         break
        4 ('real',) warning

    References:
        Kendall, Biometrika 30, 1938; Sen, Journal of the American Statistical Association 63, 1968.
    """

    rule: ClassVar[str] = "domains/gap-widening"
    code: ClassVar[str] = "D002"
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "The gap between the domains widens"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 2

    def __init__(
        self,
        window: int = 8,
        alpha: float = 0.01,
        effect: float = 0.03,
        sigmas: float = 3.0,
    ) -> None:
        self.window = whole("window", window, 5, 32)
        self.alpha = number("alpha", alpha, 0.0, 0.5)
        self.effect = number("effect", effect, 0.0, 1.0)
        self.sigmas = number("sigmas", sigmas, 0.0)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._gaps: list[float] = []
        self._errors: list[float] = []
        self._held = True

    def update(self, reading: Reading) -> Finding | None:
        """Judge one validation pass."""
        ladder, _ = self.ladder(reading)
        if ladder.held_out != self._held:  # the gap is another one
            self._gaps, self._errors, self._held = [], [], ladder.held_out
        self._gaps = [*self._gaps, ladder.gap][-self.window :]
        self._errors = [*self._errors, ladder.to.mean][-self.window :]
        if len(self._gaps) < 5:
            raise NotMeasurable(f"needs 5 validation passes with both domains, saw {len(self._gaps)}")
        p, growth = rising(self._gaps)
        _, rise = rising(self._errors)
        limit = max(scaled(self.effect, ladder), self.sigmas * ladder.se)
        if p > self.alpha or not growth > limit or rise < 0:
            return None
        return self._finding(reading, ladder, p, growth, rise, limit)

    def _finding(self, reading: Reading, ladder: Ladder, p: float, growth: float, rise: float, limit: float) -> Finding:
        m, n = ladder.measure, len(self._gaps)
        rose = rise > 2 * ladder.to.se
        course = "rose from" if rose else "stood, from"
        message = (
            f"The gap between {ladder.target} and {ladder.source} grew by {points(growth, m)} (limit "
            f"{points(limit, m)}) "
            f"over {n} validation passes, to {points(ladder.gap, m)} (p={p:.2g}), while the {m} of {ladder.target} "
            f"{course} {says(self._errors[0], m)} to {says(self._errors[-1], m)}."
        )
        return self.found(
            reading,
            Severity.WARNING if rose and m == "error" else Severity.INFO,
            message,
            where=[ladder.target],
            evidence={**evidence(ladder, limit), "value": growth, "gap": ladder.gap, "p": p, "rise": rise},
            advice=(
                f"keep the checkpoint that is best on {ladder.target}; stop there, or lower the learning rate there",
                f"draw {ladder.target} samples more often, or put some into training if there are none",
                f"vary the {ladder.source} samples more (colour, noise, blur, pose): what is left to learn from them "
                "is their own look",
            ),
        )


def rising(values: list[float]) -> tuple[float, float]:
    """Return the one-sided p-value that a series has no upward trend, and its growth from first to last.

    Kendall's exact distribution (ties count as falling), Theil and Sen's slope times the number of intervals.

    >>> p, growth = rising([0.0, 1.0, 2.0, 3.0, 10.0])
    >>> round(p, 4), growth
    (0.0083, 4.0)
    """
    n = len(values)
    pairs = [(values[j] - values[i]) / (j - i) for i in range(n) for j in range(i + 1, n)]
    inversions = sum(slope <= 0 for slope in pairs)
    counts = _inversions(n)
    return float(sum(counts[: inversions + 1]) / sum(counts)), float(np.median(pairs)) * (n - 1)


@cache
def _inversions(n: int) -> tuple[int, ...]:
    """How many permutations of n have 0, 1, 2 ... inversions (Mahonian numbers)."""
    counts = [1]
    for k in range(2, n + 1):
        wider = [0] * (len(counts) + k - 1)
        for shift in range(k):
            for i, count in enumerate(counts):
                wider[i + shift] += count
        counts = wider
    return tuple(counts)
