"""``domains/gap``: what is learned in one domain doesn't carry over to the one that counts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._classes import false_discovery, upper_tail
from lightning_diag.detectors._domain_evidence import class_gaps, differences, evidence, points, says, scaled
from lightning_diag.detectors._domains import DomainDetector, Ladder
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5  # classes listed
PER_PIXEL = 1.5  # class counts over samples above which they count pixels, which don't vary independently
FAR = 1.0  # standardized difference of an input statistic that is worth telling


class DomainGap(DomainDetector):
    """Real samples are answered worse than held-out synthetic ones, and not only because they are harder.

    Catches:
        Synthetic or simulated training data that doesn't look like the real data: the validation metric on synthetic
        samples is fine, the one that counts isn't.

    Formula:
        ``gap`` = error of the target domain in validation - error of the other domains in validation (held out). Where
        those are not in validation, their running training error stands in and the limit doubles, for it is lower;
        overfitting alone may pass that, so it is a note up to ``alone``.
        If the target is trained on (5 % of the training samples, 50 or more), its *loss of generalization* ``(target
        val - target train) - (source val - source train)`` must be above the same limits too, and half of the gap.
        A domain that is only harder has a high training error as well and stays below.
        Standard errors from the samples' own variance, with one success and one failure added. Classes: one-sided z
        test of the difference of two shares each, discoveries by Benjamini and Hochberg.

    Reads:
        ``domain/named``, ``domain/val_samples``, ``domain/val_sums``, ``domain/train_sums``,
        ``domain/val_class_support``, ``domain/val_class_right``, ``domain/input_sums`` after each validation pass.

    Args:
        effect: smallest gap of the error rate. Higher = only large gaps. Default 0.03; for
            losses it is a tenth of a share of the source's loss.
        sigmas: standard errors the gap must exceed. Higher = more samples needed. Default 3.
        evaluations: validation passes in a row. Higher = later, surer.
        support: samples a class needs in both domains to be named. Higher = fewer classes named.
        alone: gap of the error rate from which it is a warning where no source is held out. Higher = fewer warnings.
            Default 0.15, as in ``fit/overfitting``: of 599 healthy trainings on one domain, training against validation
            error, 129 stood above twice ``effect`` two passes in a row, 7 above 0.12, none above 0.15.

    Fires when:
        both hold ``evaluations`` times in a row after 80 steps: warning for errors; info where no source is held out
        and the gap is not above ``alone`` as often, and where only losses are known, whose scale may differ between
        domains without harm.

    False alarms:
        A domain that is harder by its nature and hardly trained on can't be told from one that looks different; one
        that is trained on and memorized counts as a gap.
        Simulated binomial runs without a gap, with and without a harder domain: ``tests/detectors/test_domain_gap.py``.

    Cost:
        O(D K) a validation pass.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"domain": ("synthetic", "real")})
        >>> detector = DomainGap()
        >>> for epoch, wrong in enumerate((20.0, 120.0, 120.0)):
        ...     values = {"domain/val_samples": np.array([500.0, 400.0]),
        ...               "domain/val_sums": np.array([[500.0, 20, 20, 0, 0, 0], [400, wrong, wrong, 0, 0, 0]])}
        ...     found = detector.update(Reading(100 * (epoch + 1), epoch, values, facts, stage="validation"))
        ...     print(epoch, found and found.where)
        0 None
        1 None
        2 ('real',)

    References:
        A. Ng, Machine Learning Yearning, 2018, chapters 40 to 43; Ben-David et al., Machine Learning 79, 2010.
    """

    rule: ClassVar[str] = "domains/gap"
    code: ClassVar[str] = "D001"
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "What is learned doesn't carry over to the real domain"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 2

    def __init__(
        self,
        effect: float = 0.03,
        sigmas: float = 3.0,
        evaluations: int = 2,
        support: int = 10,
        alone: float = 0.15,
    ) -> None:
        self.effect = number("effect", effect, 0.0, 1.0)
        self.sigmas = number("sigmas", sigmas, 0.0)
        self.evaluations = whole("evaluations", evaluations, 1)
        self.support = whole("support", support, 2)
        self.alone = number("alone", alone, 0.0, 1.0)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._row = 0
        self._sure = 0  # passes in a row at which it can't be overfitting alone

    def update(self, reading: Reading) -> Finding | None:
        """Judge one validation pass."""
        ladder, t = self.ladder(reading)
        effect = scaled(self.effect, ladder)
        self._row = self._row + 1 if ladder.stands(effect, self.sigmas) else 0
        plain = self._row > 0 and ladder.measure == "error" and (ladder.held_out or ladder.gap > self.alone)
        self._sure = self._sure + 1 if plain else 0
        if self._row < self.evaluations:
            return None
        return self._finding(reading, ladder, t, ladder.limit(effect, self.sigmas))

    def _finding(self, reading: Reading, ladder: Ladder, t: int, limit: float) -> Finding:
        worst = self._classes(reading, ladder, t)
        told = [text for _, text in worst[:3]]
        what = "held-out" if ladder.held_out else "training"
        weaker = (
            ""
            if ladder.held_out
            else f"; no {ladder.source} sample is held out, so part of it may be overfitting (the limit is doubled, a "
            f"warning from {points(self.alone, 'error')} on)"
        )
        by = f", worst in {', '.join(told)}" if told else ""
        m = ladder.measure
        message = (
            f"{ladder.target}: validation {m} {says(ladder.to.mean, m)} (n={int(ladder.to.n)}) against "
            f"{says(ladder.base.mean, m)} on {what} {ladder.source} (n={int(ladder.base.n)}), a gap of "
            f"{points(ladder.gap, m)} (limit {points(limit, m)}){by}{weaker}."
        )
        far = [text for d, text in differences(reading, t) if d >= FAR]
        numbers = evidence(ladder, limit)
        if far:
            numbers["inputs"] = "; ".join(far)
        return self.found(
            reading,
            Severity.WARNING if self._sure >= self.evaluations else Severity.INFO,
            message,
            where=[ladder.target, *(name for name, _ in worst[:NAMED])],
            evidence=numbers,
            advice=_advice(ladder, [name for name, _ in worst], far),
        )

    def _classes(self, reading: Reading, ladder: Ladder, t: int) -> list[tuple[str, str]]:
        """Classes with a gap of their own, largest first: name and words."""
        found = class_gaps(reading, t, ladder)
        if found is None or ladder.measure != "error":
            return []
        to, base, n, m = found
        names = reading.names("class")
        names = names if len(names) == n.size else tuple(f"class {k}" for k in range(n.size))
        gap = to - base
        enough = (n >= self.support) & (m >= self.support) & np.isfinite(gap)
        if n.sum() > PER_PIXEL * ladder.to.n:
            real = enough & (gap > self.effect)
        else:
            safe_n, safe_m = np.maximum(n, 1), np.maximum(m, 1)
            pooled = (np.nan_to_num(to) * n + np.nan_to_num(base) * m + 2) / (n + m + 4)
            z = gap / np.sqrt(pooled * (1 - pooled) * (1 / safe_n + 1 / safe_m))
            real = enough & false_discovery(np.where(enough, upper_tail(z), 1.0), 0.05) & (gap > self.effect)
        order = [int(k) for k in np.argsort(-np.where(real, gap, -np.inf)) if real[k]]
        return [(names[k], f"{names[k]} ({says(to[k], 'error')} against {says(base[k], 'error')})") for k in order]


def _advice(ladder: Ladder, classes: list[str], far: list[str]) -> tuple[str, ...]:
    of = f" of {', '.join(classes[:3])}" if classes else ""
    nearer = (
        f"bring the inputs nearer to {ladder.target}: {far[0]} differs most; change that one thing in how "
        f"{ladder.source} samples are made and train again"
        if far
        else f"lay 20 {ladder.target} samples{of} beside 20 of {ladder.source} and change the most visible difference"
    )
    hold = () if ladder.held_out else (f"hold out some {ladder.source} samples for validation: without them this gap "
                                       "can't be told from overfitting",)  # fmt: skip
    return (
        *hold,
        nearer,
        f"put 20 labelled {ladder.target} samples{of} into training, drawn often: if the gap halves, looks are the "
        "cause, if it stays, labels or the task differ",
        f"train once on {ladder.target} alone for as many steps: if that is better, {ladder.source} samples hurt",
        f"then pretrain on {ladder.source} and fine-tune on {ladder.target}",
    )
