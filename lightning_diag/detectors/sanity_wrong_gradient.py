"""``sanity/wrong-gradient``: a short step along the negative gradient doesn't lower the loss as it should."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._trials import Trials
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.fit_curve import left

MOST = 99.0  # a loss that blew up: how far doesn't matter


class SanityWrongGradient(Detector):
    """The gradient doesn't point where the loss falls.

    Catches:
        A backward pass written by hand that is wrong, a gradient that is flipped or replaced on its way, a loss that is
        not the one that was differentiated.

    Formula:
        Steps along the negative gradient of the first batch, so short that the loss should fall by 1 % and 0.1 %: its
        fall over what the gradient promises, the larger of the two, below ``limit``. 1 is a right gradient. Random
        numbers (dropout) are the same before and after.

    Reads:
        ``sanity/step_ratio sanity/fit_loss``, once, with ``sanity="full"``.

    Args:
        limit: share of the promise that must be kept; higher = more findings. Default 0.3; healthy networks of 11 tasks
            kept 0.97 to 1.00.
        stuck: share of a batch's loss that is left in 200 steps, above which it does harm. Default 0.5.

    Fires when:
        below ``limit`` (info: gradient reversal and straight-through estimators are meant to); a warning where one
        batch can't be learned either.

    False alarms:
        None in 193 healthy trainings of 11 networks (benchmarks/results/sanity_full.md); 7 of 7 planted faults found. A
        loss that is another one each time (noise from a generator of its own) is not judged.

    Cost:
        Three forward passes and one backward, once.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"curve": ("own optimizer",)})
        >>> values = {"sanity/fit_loss": np.full((1, 200), 2.3), "sanity/step_ratio": [-1.0, -1.0]}
        >>> found = SanityWrongGradient().update(Reading(1, 0, values, facts))
        >>> found.step, str(found.severity), found.evidence["value"]
        (1, 'warning', -1.0)

    References:
        Goodfellow, Bengio & Courville, Deep learning, 2016, section 11.5: compare with finite differences.
    """

    rule: ClassVar[str] = "sanity/wrong-gradient"
    code: ClassVar[str] = "X006"
    reads: ClassVar[tuple[str, ...]] = ("sanity/step_ratio",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "The gradient is wrong"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 0.3, stuck: float = 0.5) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.stuck = number("stuck", stuck, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        pass

    def update(self, reading: Reading) -> Finding | None:
        """Judge the fall of the loss."""
        ratios = reading.vector("sanity/step_ratio")
        known = np.zeros(0) if ratios is None else ratios[np.isfinite(ratios)]
        if not known.size:
            raise NotMeasurable("the loss is 0, not finite, or another one each time")
        ratio = float(known.max())
        if ratio >= self.limit:
            return None
        rest = min(left(Trials.of(reading).best), MOST)
        return self.found(
            reading,
            Severity.WARNING if rest > self.stuck else Severity.INFO,
            f"A short step along the negative gradient changes the loss by {ratio:.2g} times what the gradient "
            f"promises (limit {self.limit:g}, a right one gives 1), and {percent(rest)} of one batch's loss is left "
            "after training on it.",
            evidence={"value": ratio, "limit": self.limit, "left": rest},
            advice=(
                "run torch.autograd.gradcheck on each torch.autograd.Function of your own, in float64",
                "look for hooks on tensors or losses, and for values computed under no_grad that the loss depends on",
            ),
        )
