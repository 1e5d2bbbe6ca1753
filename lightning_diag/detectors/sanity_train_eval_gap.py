"""``sanity/train-eval-gap``: in evaluation mode the model doesn't know what it just learned by heart."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._trials import Trials
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.fit_curve import last_level, left


class SanityTrainEvalGap(Detector):
    """After 200 steps on one batch, its loss is far higher in evaluation mode than in training mode.

    Catches:
        Running statistics of batch norm that don't follow (a momentum near 0, statistics shared by unlike inputs), a
        branch on ``self.training`` that does something else, weights that are swapped for evaluation.

    Formula:
        ``(loss in evaluation mode - last loss in training mode) / (first loss - last)`` above ``limit``, where the
        batch was learned (at most ``learned`` of the first loss left).

    Reads:
        ``sanity/eval_loss sanity/fit_loss``, once, with ``sanity="full"``.

    Args:
        limit: share of what was gained that evaluation mode may lose; higher = fewer findings. Default 0.5; healthy
            networks of 11 tasks lost 0.00.
        learned: share of the first loss that may be left for the comparison to mean something. Default 0.2.

    Fires when:
        the share is above ``limit``: a warning, because validation measures this.

    False alarms:
        None in 188 healthy trainings of 11 networks (benchmarks/results/sanity_full.md); 3 of 3 planted faults found.

    Cost:
        One step, once.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"curve": ("own optimizer",)})
        >>> values = {"sanity/fit_loss": np.geomspace(2.3, 0.01, 200)[None], "sanity/eval_loss": 2.0}
        >>> found = SanityTrainEvalGap().update(Reading(1, 0, values, facts))
        >>> found.step, str(found.severity), round(found.evidence["value"], 2)
        (1, 'warning', 0.87)

    References:
        Ioffe & Szegedy, Batch normalization, ICML 2015; Wu & Johnson, Rethinking "batch" in BatchNorm, 2021
        (arXiv:2105.07576).
    """

    rule: ClassVar[str] = "sanity/train-eval-gap"
    code: ClassVar[str] = "X005"
    reads: ClassVar[tuple[str, ...]] = ("sanity/fit_loss",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Evaluation mode differs"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 0.5, learned: float = 0.2) -> None:
        self.limit = number("limit", limit, 0)
        self.learned = number("learned", learned, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        pass

    def update(self, reading: Reading) -> Finding | None:
        """Compare both modes."""
        trials = Trials.of(reading)
        loss = reading.scalar("sanity/eval_loss")
        if loss is None:
            raise NotMeasurable("the loss in evaluation mode is not known")
        first, last = float(trials.best[0]), last_level(trials.best)
        if not 0 <= left(trials.best) <= self.learned:
            raise NotMeasurable("the batch was not learned in training mode")
        gap = (loss - last) / (first - last) if math.isfinite(loss) else math.inf
        if gap <= self.limit:
            return None
        return self.found(
            reading,
            Severity.WARNING,
            f"One batch was learned from a loss of {first:.4g} to {last:.4g}, and has one of {loss:.4g} in evaluation "
            f"mode: {percent(gap)} of what was gained is lost there (limit {percent(self.limit)}).",
            evidence={
                "value": min(gap, 1e9),
                "limit": self.limit,
                "eval_loss": str(loss) if gap == math.inf else loss,
                "train_loss": last,
            },
            advice=(
                "validate with the batch norm layers in training mode: if the loss is low then, their running "
                "statistics are wrong (momentum, too few steps, two kinds of inputs through one layer)",
                "look for `self.training` in the model: what is left out in evaluation mode?",
            ),
        )
