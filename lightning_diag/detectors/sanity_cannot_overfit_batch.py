"""``sanity/cannot-overfit-batch``: not even one batch can be learned by heart."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._trials import Trials
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.fit_curve import last_level, left

MOST = 99.0  # a loss that blew up: how far doesn't matter


class SanityCannotOverfitBatch(Detector):
    """Trained on a single batch, again and again, a copy of the model doesn't get its loss down.

    Catches:
        What is wrong with the model, the loss or the optimizer rather than with the data: a softmax too many, a loss of
        the wrong sign, dead units, an initial scale at which nothing moves, dropout that leaves nothing.

    Formula:
        200 steps on the first batch, with the run's own optimizer (at its schedule's first rate), and where a tenth of
        the loss or more is left with Adam at 1e-3 and at 1e-2: the share of the first loss that is left (median of the
        last 5) of the best above ``limit``. Or less is left, and not more predictions are right than if the most
        frequent target were always said.

    Reads:
        ``sanity/fit_loss sanity/fit_accuracy sanity/fit_chance``, once, with ``sanity="full"``.

    Args:
        limit: share of the first loss that may be left; higher = fewer findings. Default 0.5: healthy networks of 11
            tasks left at most 0.05, label smoothing 0.1 leaves 0.22.
        stuck: share at which nothing was learned at all; higher = fewer warnings. Default 0.9.
        right: accuracy on the batch above which it was learned whatever the loss says; lower = fewer warnings. Default
            0.9.

    Fires when:
        more than ``limit`` is left: a warning above ``stuck``, or where fewer than ``right`` of the predictions are
        right; a note otherwise (losses with a high floor). A warning where the loss falls and predictions don't get
        right. A note where only the run's own optimizer can't: its rate is too low or too high.

    False alarms:
        None in 195 healthy trainings of 11 networks, no note either (benchmarks/results/sanity_full.md); 17 of 17
        planted faults found, 13 warned of. Losses with a floor of their own (noise prediction at random times, mixed
        targets) may get a note.

    Cost:
        Up to 800 training steps, once.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"curve": ("own optimizer", "Adam 0.001", "Adam 0.01")})
        >>> values = {"sanity/fit_loss": np.full((3, 200), 2.3), "sanity/fit_accuracy": 0.1, "sanity/fit_chance": 0.1}
        >>> found = SanityCannotOverfitBatch().update(Reading(1, 0, values, facts))
        >>> found.step, str(found.severity), found.evidence["value"]
        (1, 'warning', 1.0)

    References:
        Karpathy, A recipe for training neural networks, 2019: "overfit one batch". Zhang et al., Understanding deep
        learning requires rethinking generalization, ICLR 2017 (arXiv:1611.03530).
    """

    rule: ClassVar[str] = "sanity/cannot-overfit-batch"
    code: ClassVar[str] = "X004"
    reads: ClassVar[tuple[str, ...]] = ("sanity/fit_loss",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "One batch can't be learned"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, limit: float = 0.5, stuck: float = 0.9, right: float = 0.9) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.stuck = number("stuck", stuck, 0, 1)
        self.right = number("right", right, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        pass

    def update(self, reading: Reading) -> Finding | None:
        """Judge what was left of the loss."""
        trials = Trials.of(reading)
        accuracy, chance = reading.scalar("sanity/fit_accuracy"), reading.scalar("sanity/fit_chance")
        rest, own = (min(left(curve), MOST) for curve in (trials.best, trials.own))
        steps = len(trials.best)
        evidence: dict[str, float | int | str] = {"value": rest, "limit": self.limit, "own": own, "steps": steps}
        if accuracy is not None:
            evidence["accuracy"] = accuracy
        curve = f"from {trials.best[0]:.4g} to {last_level(trials.best):.4g}"
        if accuracy is not None and chance is not None and accuracy <= chance and rest <= self.limit:
            return self.found(
                reading,
                Severity.WARNING,
                f"On one batch the loss falls {curve} in {steps} steps, and {percent(accuracy)} of its predictions are "
                f"right, no more than if one class were always said (limit {percent(chance)}).",
                evidence=evidence,
                advice=("check the sign of the loss, and that its arguments are (predictions, targets)",),
            )
        if rest > self.limit:
            learned = accuracy if accuracy is not None and accuracy >= self.right else None
            lost = rest > self.stuck or (accuracy is not None and learned is None)
            said = f", although {percent(learned)} of its predictions are right" if learned is not None else ""
            return self.found(
                reading,
                Severity.WARNING if lost else Severity.INFO,
                f"In {steps} steps on one single batch the loss went {curve}: {percent(rest)} of it is left (limit "
                f"{percent(self.limit)}), with {trials.best_name}, the best of those tried{said}.",
                evidence=evidence,
                advice=_advice(learned=learned is not None),
            )
        if own > self.limit:
            return self.found(
                reading,
                Severity.INFO,
                f"In {steps} steps on one single batch {percent(own)} of the loss is left with the run's own "
                f"optimizer (limit {percent(self.limit)}), {percent(rest)} with {trials.best_name}: its steps are too "
                "small or too large.",
                evidence={**evidence, "value": own},
                advice=(f"train 200 steps with {trials.best_name} and compare the loss",),
            )
        return None


def _advice(*, learned: bool) -> tuple[str, ...]:
    if learned:
        return ("check that the loss gets what it expects: logits and not probabilities (no softmax before it)",)
    return (
        "take parts away until one batch can be learned: regularization first (dropout, weight decay, augmentation in "
        "the step), then layers",
        "check that the loss gets what it expects: logits and not probabilities (no softmax before it)",
        "print the loss of a prediction that is right by construction: if that isn't near 0, it is the loss",
        "train with the layers' default initialization: if one batch can be learned then, it was the scale",
    )
