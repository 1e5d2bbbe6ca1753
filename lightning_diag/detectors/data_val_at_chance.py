"""``data/val-at-chance``: validation is answered by chance while training isn't."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._classes import Pass, counts, no_tokens, wilson
from lightning_diag.detectors._data import Order, other_domain
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

Z = 3.0  # standard errors of every bound: 0.1 % of error on each side
LEAST = 100  # targets of training, and of validation, from which they are judged
REPEATS = 0.05  # share of samples that come again in the first epoch, from which a sample counts as seen
ALIKE = 0.7  # correlation of classes' mean inputs, train and validation, from which labels do belong to their inputs


class DataValAtChance(Detector):
    """Validation is answered no better than by chance, training far better, on samples the network had not yet seen.

    Catches:
        Validation labels in another order than their inputs, or of another class order; validation inputs that are
        preprocessed otherwise; a network that works in training mode only.

    Formula:
        validation accuracy against ``e``, the share of right answers that the same numbers of answers and labels a
        class have by chance (Cohen): no more than 3 binomial standard errors above ``e``; below by more than 3 is told
        as worse than chance. Training accuracy in the *first epoch*, where each sample is answered before it is
        learned from, against the share of its most frequent label: the Wilson lower bound of
        ``kappa = (a - e) / (1 - e)`` at least ``kappa``, and three times the upper bound of that of validation. In
        ``passes`` successive passes.

    Reads:
        ``class/support class/right class/predicted class/train_support class/train_right``, beside ``data/samples
        data/duplicate_frac data/val_agreement data/same_label domain/val_samples domain/train_samples``.

    Args:
        kappa: of training; higher = fires on clearer cases only. Default 0.3: "fair" agreement begins at 0.2, moderate
            at 0.4 (Landis & Koch).
        passes: successive validation passes. Default 2: batch norm's running statistics are young in the first.

    Fires when:
        a warning: the validation curve says nothing of the model. Not judged where samples repeat within the first
        epoch, where batches are sorted by label, and where domains are known and validation's is another.

    False alarms:
        Validation with an average of the weights that is still near the first ones; a domain shift nobody told of.

    Cost:
        O(K) a validation pass.

    Examples:
        >>> import numpy as np
        >>> right, all_ = np.array([30.0, 30, 30]), np.array([100.0, 100, 100])
        >>> values = {"class/support": all_, "class/right": right, "class/predicted": all_, "class/train_support": all_,
        ...           "class/train_right": 2.5 * right, "data/samples": np.float64(300),
        ...           "data/duplicate_frac": np.float64(0)}
        >>> detector = DataValAtChance()
        >>> try:
        ...     detector.update(Reading(80, 0, values, stage="validation"))
        ... except NotMeasurable as reason:
        ...     print(reason)
        needs 2 successive passes
        >>> found = detector.update(Reading(160, 1, values, stage="validation"))
        >>> str(found.severity), round(found.evidence["value"], 2), round(found.evidence["limit"], 2)
        ('warning', 0.3, 0.33)

    References:
        Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20, 1960.
        Wilson, Probable inference, J. Am. Stat. Assoc. 22, 1927. Blum, Kalai & Langford, Beating the hold-out, 1999
        (each sample tested before it is trained on). Landis & Koch, Biometrics 33, 1977.
    """

    rule: ClassVar[str] = "data/val-at-chance"
    code: ClassVar[str] = "I014"
    reads: ClassVar[tuple[str, ...]] = ("class/support", "class/train_support", "data/same_label", "data/samples")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Validation is at chance"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, kappa: float = 0.3, passes: int = 2) -> None:
        self.kappa = number("kappa", kappa, 0, 1)
        self.passes = whole("passes", passes, 1)
        super().__init__()

    def _reset(self) -> None:
        self._order = Order()
        self._row = 0
        self._train = math.nan  # accuracy on samples not seen before
        self._train_kappa = math.nan  # lower bound of it above chance
        self._repeats = math.nan  # share of samples that came again in an epoch; NaN: nobody knows
        self._agreement = math.nan

    def update(self, reading: Reading) -> Finding | None:
        """Take in what training says; judge a validation pass."""
        no_tokens(reading)
        self._see(reading)
        seen = counts(reading)
        if other_domain(reading):
            raise NotMeasurable("validation is of another domain than training")
        if self._order.sorted:
            raise NotMeasurable("batches are sorted by label: an answer is right because the one before was")
        if not self._repeats <= REPEATS:
            raise NotMeasurable("samples may repeat within the first epoch, or can't be told apart")
        if not self._train_kappa >= self.kappa:
            raise NotMeasurable("training was not clearly better than chance on samples it had not seen (first epoch)")
        total = float(seen.support.sum())
        if total < LEAST or abs(float(seen.predicted.sum()) - total) > 0.5:
            raise NotMeasurable(f"needs {LEAST} validation samples with one label each")
        chance, share, z = _against_chance(seen)
        upper = (float(wilson(share * total, total, Z)[1]) - chance) / (1 - chance) if chance < 1 else math.inf
        self._row = self._row + 1 if z <= Z and upper < self._train_kappa / 3 else 0
        if self._row == 0:
            return None
        if self._row < self.passes:
            raise NotMeasurable(f"needs {self.passes} successive passes")
        return self._finding(reading, share, chance, z)

    def _see(self, reading: Reading) -> None:
        self._order.see(reading)
        if "data/samples" in reading.values:
            repeats = reading.scalar("data/duplicate_frac")
            self._repeats = math.nan if repeats is None else repeats
        agreement = reading.scalar("data/val_agreement")
        self._agreement = self._agreement if agreement is None else agreement
        support, right = reading.vector("class/train_support"), reading.vector("class/train_right")
        if reading.epoch == 0 and support is not None and right is not None and support.sum() >= LEAST:
            n, chance = float(support.sum()), float(support.max() / support.sum())
            self._train = float(right.sum()) / n
            lower = float(wilson(float(right.sum()), n, Z)[0])
            self._train_kappa = (lower - chance) / (1 - chance) if chance < 1 else math.nan

    def _finding(self, reading: Reading, share: float, chance: float, z: float) -> Finding:
        than = "worse than" if z < -Z else "no better than"
        belong = self._agreement > ALIKE
        labels = "count the labels a class in both sets, compare their class order, and look at ten validation samples"
        evaluation = "validate once in training mode, and once with the training set's transforms: if either is right, "
        evaluation += "evaluation mode (batch norm, dropout) or preprocessing is at fault"
        return self.found(
            reading,
            Severity.WARNING,
            f"{percent(share)} of the validation answers are right, {than} chance (limit {percent(chance)}), while "
            f"{percent(self._train)} were right on training samples that were new"
            + ("; the labels do fit their inputs." if belong else "."),
            evidence={"value": share, "limit": chance, "train": self._train, "z": z},
            advice=(
                "evaluate on training samples with the validation code: if that is at chance, too, the code is at "
                "fault, else the validation set",
                *((evaluation, labels) if belong else (labels, evaluation)),
            ),
        )


def _against_chance(seen: Pass) -> tuple[float, float, float]:
    """Share right by chance, share right, and their difference in standard errors."""
    n = float(seen.support.sum())
    chance = float((seen.support * seen.predicted).sum()) / n**2
    share = float(seen.right.sum()) / n
    error = math.sqrt(max(chance * (1 - chance), 1 / n) / n)
    return chance, share, (share - chance) / error
