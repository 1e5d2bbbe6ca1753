"""``domains/separable``: the features tell the domains apart."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._domain_choice import choose, present
from lightning_diag.detectors._domain_evidence import differences, scaled
from lightning_diag.detectors._domains import DomainDetector
from lightning_diag.detectors._words import points
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

UNSEEN = (
    "features of two domains were not compared yet (every few validation passes, from 20 held-out samples of each with "
    "classes in common; the class scores must come from a linear layer outside compiled code)"
)


class DomainSeparable(DomainDetector):
    """A linear probe on the penultimate features tells a held-out sample's domain.

    Catches:
        Features that encode where a sample comes from: the head can use it, and what it learns in one domain need not
        hold in the other. A difference, not by itself a harm.

    Formula:
        Area under the ROC curve of a ridge regression on at most 256 samples of each side and 128 features, 5-fold,
        with each class's mean taken out; p = share of 199 permutations inside the classes that do as well. Beside it
        the unbiased squared maximum mean discrepancy (Gaussian kernel, median distance) with the same permutations.

    Reads:
        ``domain/probe_auc``, ``domain/probe_p``, ``domain/probe_error``, ``domain/mmd``, ``domain/mmd_p``,
        ``domain/input_sums``, and what ``domains/gap`` reads.

    Args:
        auc: area from which the domains are told apart. Higher = only clear separation. Default 0.6.
        alpha: p-value. Higher = sooner, more false alarms. Default 0.01; 199 permutations can't give less than 0.005.
        evaluations: comparisons in a row. Higher = later, surer.
        effect: gap of the error rates from which it is a warning, as in ``domains/gap``. Higher = later.

    Fires when:
        both hold ``evaluations`` times in a row: info; warning while the gap of ``domains/gap`` stands.

    False alarms:
        By permutation at most ``alpha`` a comparison, measured with equal domains in
        ``tests/probes/test_domain_separation.py``; the area must be large as well.

    Cost:
        About 50 ms on one CPU core at passes 2, 3, 5, 8, 12 ...

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts, detector = Facts(names={"domain": ("synthetic", "real")}), DomainSeparable()
        >>> for epoch in range(3):
        ...     values = {"domain/val_samples": np.full(2, 100.0), "domain/probe_auc": np.full(2, 0.9),
        ...               "domain/probe_p": np.full(2, 0.005)}
        ...     found = detector.update(Reading(100 * (epoch + 1), epoch, values, facts, stage="validation"))
        ...     print(epoch, found and str(found.severity))
        0 None
        1 info
        2 info

    References:
        Lopez-Paz & Oquab, Revisiting classifier two-sample tests, ICLR 2017 (arXiv:1610.06545); Ben-David et al.,
        Machine Learning 79, 2010; Gretton et al., JMLR 13, 2012.
    """

    rule: ClassVar[str] = "domains/separable"
    code: ClassVar[str] = "D003"
    reads: ClassVar[tuple[str, ...]] = ("domain/named", "domain/probe_auc")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Features tell the domains apart"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 2

    def __init__(
        self,
        auc: float = 0.6,
        alpha: float = 0.01,
        evaluations: int = 2,
        effect: float = 0.03,
    ) -> None:
        self.auc = number("auc", auc, 0.5, 1.0)
        self.alpha = number("alpha", alpha, 0.005, 0.5)
        self.evaluations = whole("evaluations", evaluations, 1)
        self.effect = number("effect", effect, 0.0, 1.0)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._row = 0

    def update(self, reading: Reading) -> Finding | None:
        """Judge one validation pass; those without a comparison only keep the training sums."""
        names, val, train = present(reading)
        gap = self._gap(reading)
        auc, p = reading.vector("domain/probe_auc"), reading.vector("domain/probe_p")
        if auc is None or p is None or not np.isfinite(auc).any():
            raise NotMeasurable(reading.facts.unmeasured.get("domain/probe_auc", UNSEEN))
        t = choose(names, val, np.maximum(train, self.trained(names)), reading.facts.target_domain)
        told = auc[t] > self.auc and p[t] <= self.alpha
        self._row = self._row + 1 if told else 0
        if self._row < self.evaluations:
            return None
        return self._finding(reading, names[t], t, gap)

    def _gap(self, reading: Reading) -> float | None:
        try:
            ladder, _ = self.ladder(reading)
        except NotMeasurable:
            return None
        return ladder.gap if ladder.stands(scaled(self.effect, ladder), 3.0) and ladder.measure == "error" else None

    def _finding(self, reading: Reading, target: str, t: int, gap: float | None) -> Finding:
        auc, p = float(reading.values["domain/probe_auc"][t]), float(reading.values["domain/probe_p"][t])
        numbers: dict[str, float | str] = {"value": auc, "limit": self.auc, "p": p}
        for name in ("probe_error", "mmd", "mmd_p"):
            row = reading.vector(f"domain/{name}")
            if row is not None and np.isfinite(row[t]):
                numbers[name] = float(row[t])
        if "probe_error" in numbers:
            numbers["proxy_a_distance"] = 2 * (1 - 2 * float(numbers["probe_error"]))
        far = [text for d, text in differences(reading, t) if d >= 1.0]
        if far:
            numbers["inputs"] = "; ".join(far)
        harm = "which is no harm by itself" if gap is None else f"and the error gap is {points(gap)}"
        giveaway = f" The inputs alone differ in {far[0]}." if far else ""
        return self.found(
            reading,
            Severity.INFO if gap is None else Severity.WARNING,
            f"A linear probe tells {target} samples by their features with an area under the ROC curve of {auc:.3g} "
            f"(limit {self.auc:g}, p={p:.3g}), {harm}.{giveaway}",
            where=[target],
            evidence=numbers,
            advice=(
                f"find the giveaway: {far[0]}"
                if far
                else "look at the samples the probe is surest of, from both sides",
                "augment both domains so that it no longer tells (noise, blur, compression, contrast, borders), and "
                "see whether the gap follows",
                "adapt the features (batch norm statistics of the target, CORAL, adversarial) only if that fails",
            ),
        )
