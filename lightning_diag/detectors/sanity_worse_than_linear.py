"""``sanity/worse-than-linear``: a linear model on the raw inputs does better."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._words import percent, points
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

STRETCH = 0.1  # share of the plan over which it is behind, and over which its gain is taken, at least


class SanityWorseThanLinear(Detector):
    """On the same validation samples a linear model of the raw inputs does better than the network.

    Catches:
        A run that is far from what its data allow, whatever the reason: learning rate, initialization, batch size,
        order, inputs or too much regularization. The baseline saw the same training batches, wrong labels and all.

    Formula:
        accuracy of linear discriminant analysis less the network's above ``max(margin, 3 se)`` with the binomial
        standard error ``se``; for squared error: the network's validation loss above ``ratio`` times that of ridge
        regression. In ``evals`` validations in a row, from ``share`` of the plan on.

    Reads:
        ``baseline/accuracy baseline/error baseline/samples``, ``accuracy/val``, ``loss/val``.

    Args:
        margin: difference in accuracy from which it is noted; higher = fewer notes. Default 0.03.
        warn_at: difference that makes a warning of it; higher = fewer warnings. Default 0.1: healthy networks on small
            sets that a linear model suits are behind by 2 to 9 points in most runs; what does harm shows in other rules
            too or costs more (no fault of the zoo's was told later for it).
        ratio: of squared errors; higher = later. Default 1.25.
        share: of the plan, before which a network may lag behind; 3 epochs without a plan. Default 0.4.
        evals: validations in a row, and as many as there are in a tenth of the plan; the gain is taken over them.
            Default 3.
        min_steps: optimizer steps before anything is said; higher = later in short runs. Default 200.

    Fires when:
        a warning; info where it is behind by less than ``warn_at``, or gains so much over these validations that it
        would be level within twice the plan: then it only needs more time.

    False alarms:
        Inputs that are augmented or of which the network sees a part only. Measured: `docs/accuracy.md`.

    Cost:
        One matrix product of at most 256 inputs a sampled batch, one solve a validation pass.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> detector, facts = SanityWorseThanLinear(), Facts(planned_steps=1000)
        >>> for step in range(100, 1001, 100):
        ...     values = {"baseline/accuracy": np.float64(0.93), "baseline/samples": np.float64(400),
        ...               "accuracy/val": np.float64(0.75 + 0.00005 * step)}
        ...     try:
        ...         found = detector.update(Reading(step, 0, values, facts, stage="validation"))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         break
        >>> step, str(found.severity)
        (600, 'warning')

    References:
        Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, section 4.3. Karpathy, A recipe for
        training neural networks, 2019 (compare with a dumb baseline first).
    """

    rule: ClassVar[str] = "sanity/worse-than-linear"
    code: ClassVar[str] = "N004"
    reads: ClassVar[tuple[str, ...]] = ("baseline/accuracy", "baseline/error")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "A linear model does better"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 2

    def __init__(
        self, margin: float = 0.03, ratio: float = 1.25, share: float = 0.4, evals: int = 3, min_steps: int = 200,
        warn_at: float = 0.1,
    ) -> None:  # fmt: skip
        self.margin = number("margin", margin, 0, 1)
        self.warn_at = number("warn_at", warn_at, margin, 1)
        self.ratio = number("ratio", ratio, 1)
        self.share = number("share", share, 0, 1)
        self.evals = whole("evals", evals, 1)
        self.min_steps = whole("min_steps", min_steps, 0)
        super().__init__()

    def _reset(self) -> None:
        self._row = self._far = 0  # validations in a row that it is behind, and by so much that it is a warning
        self._past: list[list[float]] = []  # step, and how far behind, of the last validations

    def update(self, reading: Reading) -> Finding | None:
        """Judge a validation pass."""
        behind, limit, warn_at, text = self._compared(reading)
        planned = reading.facts.planned_steps
        since = reading.step - STRETCH * (planned or 2 * reading.step)
        self._past = [*self._past, [reading.step, behind]]
        while len(self._past) > self.evals and self._past[1][0] <= since:
            self._past.pop(0)
        step, before = self._past[0]
        gain = (before - behind) / max(1.0, reading.step - step)
        early = reading.step < self.share * planned if planned else reading.epoch < 3
        if early or reading.step < self.min_steps:
            raise NotMeasurable("a network may lag behind this early")
        self._row = self._row + 1 if behind > limit else 0
        self._far = self._far + 1 if behind > max(limit, warn_at) else 0
        needed = max(self.evals, len(self._past))
        if self._row < needed:
            return None
        left = 2 * (planned or reading.step) - reading.step
        slow = behind - left * gain <= 0
        return self.found(
            reading,
            Severity.WARNING if self._far >= needed and not slow else Severity.INFO,
            f"{text}, and has been behind for {self._row} validations{', but catches up' if slow else ''}.",
            evidence={"value": behind, "limit": limit, "samples": reading.scalar("baseline/samples") or 0.0},
            advice=(
                "feed the network the very inputs of the linear model, without augmentation, dropout and weight decay: "
                "if it is still worse, it is the optimization (learning rate, initialization, batch size, order)",
                "train on one batch of 32 samples until its loss is near zero: if that fails, the wiring is at fault",
            ),
        )

    def _compared(self, reading: Reading) -> tuple[float, float, float, str]:
        """How far the network is behind, the limit, what makes a warning of it, and the first two in words."""
        linear, own = reading.scalar("baseline/accuracy"), reading.scalar("accuracy/val")
        samples = reading.scalar("baseline/samples") or 0.0
        if linear is not None and own is not None and samples >= 20:
            spread = (linear * (1 - linear) + own * (1 - own)) / samples
            text = f"The network is right on {percent(own, 3)} of validation, a linear model on {percent(linear, 3)}"
            limit = max(self.margin, 3 * math.sqrt(spread))
            text += f": {points(linear - own)} (limit {points(limit)})"
            return linear - own, limit, self.warn_at, text
        error, loss = reading.scalar("baseline/error"), reading.scalar("loss/val")
        if error is None or loss is None or samples < 20 or reading.facts.loss_kind != "mse" or error <= 0:
            raise NotMeasurable("no linear baseline: inputs or targets aren't plain, or too few samples have passed")
        text = f"The network's validation loss is {loss:.4g}, a linear model's {error:.4g}: {loss / error:.3g} times"
        text += f" (limit {self.ratio:g})"
        return loss / error - 1, self.ratio - 1, 0.0, text
