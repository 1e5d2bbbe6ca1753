"""``sanity/random-labels-as-easy``: shuffled targets are learned as fast as the true ones."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._trials import Trials
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.fit_curve import last_level, left, mean_above


class SanityRandomLabelsAsEasy(Detector):
    """A copy learns one batch with its targets shuffled among the samples as fast as with the true ones.

    Catches:
        Labels that don't belong to their inputs (shuffled apart, an index off by one), many wrong ones, inputs that
        lost what the labels depend on.

    Formula:
        mean loss over 200 steps, with targets shuffled over with the true ones, below ``limit``, where the true ones
        were learned; both above the lower of their last levels, so that a floor (label smoothing) doesn't count. Only
        where the targets are classes: in regression with much noise both are equally easy.

    Reads:
        ``sanity/fit_loss sanity/fit_accuracy``, once, with ``sanity="full"``.

    Args:
        limit: ratio below which they count as equally easy; higher = more findings. Default 1.05: random labels give
            1.03, 40 % wrong ones 1.04, healthy classifiers and language models 1.18 to 1.98.
        learned: share of the first loss that may be left of the true ones. Default 0.5.

    Fires when:
        info only: one batch says little, and a small gain over chance may be all there is to learn.

    False alarms:
        It never warns. A note in 1 of 164 healthy trainings, a batch norm network that learns either within a few steps
        (benchmarks/results/sanity_full.md); 8 of 9 runs with random labels found.

    Cost:
        200 training steps, once.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"curve": ("own optimizer", "targets shuffled")})
        >>> curve = np.geomspace(2.3, 0.01, 200)
        >>> values = {"sanity/fit_loss": np.stack([curve, curve]), "sanity/fit_accuracy": 1.0}
        >>> found = SanityRandomLabelsAsEasy().update(Reading(1, 0, values, facts))
        >>> found.step, str(found.severity), found.evidence["value"]
        (1, 'info', 1.0)

    References:
        Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017 (arXiv:1611.03530);
        Arpit et al., A closer look at memorization in deep networks, ICML 2017 (arXiv:1706.05394).
    """

    rule: ClassVar[str] = "sanity/random-labels-as-easy"
    code: ClassVar[str] = "X007"
    reads: ClassVar[tuple[str, ...]] = ("sanity/fit_loss",)
    severity: ClassVar[Severity] = Severity.INFO
    title: ClassVar[str] = "Random labels are as easy"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 1.05, learned: float = 0.5) -> None:
        self.limit = number("limit", limit, 0)
        self.learned = number("learned", learned, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        pass

    def update(self, reading: Reading) -> Finding | None:
        """Compare both curves."""
        trials = Trials.of(reading)
        if trials.shuffled is None or reading.scalar("sanity/fit_accuracy") is None:
            raise NotMeasurable("the batch has no target of classes that can be shuffled")
        if not 0 <= left(trials.best) <= self.learned:
            raise NotMeasurable("the batch was not learned with its true targets")
        floor = min(last_level(trials.shuffled), last_level(trials.best))
        ratio = mean_above(trials.shuffled, floor) / mean_above(trials.best, floor)
        if not ratio < self.limit:
            return None
        return self.found(
            reading,
            Severity.INFO,
            f"With its targets shuffled one batch is learned as fast as with the true ones: {ratio:.3g} times the loss "
            f"over {len(trials.best)} steps (limit {self.limit:g}).",
            evidence={"value": ratio, "limit": self.limit},
            advice=(
                "look at 20 samples beside their labels, as they come out of the loader",
                "repeat with a batch four times as large: if the two curves part then, the batch was too small to say",
            ),
        )
