"""``data/giveaway-feature``: one input says the label all by itself."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._data import feature_names, unseen
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 3
NEAR = 5.0  # times the unexplained share of the best input, up to which another one is like it
TOO_MUCH = 0.5  # share that permuted labels explain, from which batches are sorted or samples too few


class DataGiveawayFeature(Detector):
    """A single input takes (nearly) another value for each class and the same within a class.

    Catches:
        A label or an id that was left among the inputs, a watermark, a border drawn a class.

    Formula:
        share of the input's variance that lies between the classes (eta squared, 1 = the class says the value), of each
        of up to 256 inputs, beyond what the best input reaches by chance: ``(share - chance) / (1 - chance)``, with
        ``chance`` the largest share of any input where the same batches' labels are permuted within each batch. Fires
        above ``limit`` where the input stands alone: at most a tenth of all inputs leave no more than 5 times as much
        of their variance unexplained. Classes of fewer than 5 samples are left out.

    Reads:
        ``data/class_r2 data/class_r2_chance``, after each validation pass.

    Args:
        limit: eta squared beyond chance; higher = later. Default 0.97: the best single input of scikit-learn's iris has
            0.94, of its wine 0.73, breast cancer 0.63, digits 0.6.

    Fires when:
        a warning whenever it is exceeded: validation has the giveaway too, so no curve shows it.

    False alarms:
        A task that one measurement decides. Measured: `benchmarks/results/data_giveaway.md`.

    Cost:
        O(K F) a sampled batch.

    Examples:
        >>> found = DataGiveawayFeature().update(
        ...     Reading(47, 0, {"data/class_r2": np.array([0.2] * 19 + [0.99])}, stage="validation"))
        >>> str(found.severity), found.where
        ('warning', ('feature 19',))

    References:
        Westfall & Young, Resampling-based multiple testing, 1993 (the largest of all under permutation). Kaufman et
        al., Leakage in data mining, ACM TKDD 6(4), 2012. Geirhos et al., Shortcut learning in deep neural networks,
        2020 (arXiv:2004.07780).
    """

    rule: ClassVar[str] = "data/giveaway-feature"
    code: ClassVar[str] = "I009"
    reads: ClassVar[tuple[str, ...]] = ("data/class_r2",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "One input gives the label away"
    refresh: ClassVar[bool] = True

    def __init__(self, limit: float = 0.97) -> None:
        self.limit = number("limit", limit, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._judged = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge every input."""
        shares = reading.vector("data/class_r2")
        if shares is None or not np.isfinite(shares).any():
            raise NotMeasurable(
                unseen(reading, "data/class_r2", "no inputs of numbers with integer labels have passed")
            )
        if len(shares) < 3:
            raise NotMeasurable("needs at least 3 inputs to tell one from the others")
        chance = reading.scalar("data/class_r2_chance") or 0.0
        if chance > TOO_MUCH:
            raise NotMeasurable("labels permuted within batches are told, too: batches are sorted, or samples few")
        known = (np.nan_to_num(shares, nan=0.0) - chance) / (1 - chance)
        order = np.argsort(-known)
        best = float(known[order[0]])
        alike = float((1 - known <= NEAR * (1 - best)).mean())
        if best <= self.limit or alike > max(0.1, 1.5 / len(shares)):
            return None
        # one column of flattened images is a pixel: channels and features are told apart by their number only
        names = feature_names(reading, order[: max(1, int((known > self.limit).sum()))][:NAMED], max(len(shares), 17))
        return self.found(
            reading,
            Severity.WARNING,
            f"{names[0]} alone tells the classes apart: {percent(best)} of its variance lies between them (limit "
            f"{percent(self.limit)}; the usual input has {percent(float(np.median(known)))}, permuted labels explain "
            f"{percent(chance)}).",
            where=names,
            evidence={"value": best, "limit": self.limit, "median": float(np.median(known)), "chance": chance},
            advice=(
                "set this input to 0 in validation alone: if the score falls to chance, the model reads the label "
                "from it",
                "ask where the value comes from, and whether it is known when the model is used",
            ),
        )
