"""``data/unnormalized``: the inputs lie far from zero mean and unit variance."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, SURE_STEPS
from lightning_diag.detectors._data import Doing, feature_names, unseen
from lightning_diag.detectors._trend import several_classes
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5
BATCHES = 20  # sampled, before targets are judged ...
FEW, FAR = 3, 10.0  # ... or so few where they lie so many times beyond the limit
OWN = 10.0  # a single column is off when it lies so many of its own and of the usual standard deviations from zero
SLOW, LEFT = 0.15, 0.3  # share of the plan, and R that is left then ...
LEFT_NORMALIZED = 0.6  # ... where a normalization further in takes the scale out
Array = NDArray[np.float64]


class _Scale(NamedTuple):
    offset: float
    std: float
    columns: Array


class DataUnnormalized(Detector):
    """The inputs lie far from zero mean and unit variance, and no first layer puts that right.

    Catches:
        Images of 0 to 255, a forgotten normalization, a column of years or of ids.

    Formula:
        with mean ``m`` and standard deviation ``s`` over all values: ``|m| / s > offset``, or ``s`` outside ``[low,
        high]``, or a column whose own mean lies 10 of its own and 10 of the usual column's standard deviations from
        zero. Targets of a regression: their standard deviation outside ``[low, high]``, or their mean beyond ``high``,
        over 20 sampled batches, or 3 where either is 10 times larger still.

    Reads:
        ``data/feature_mean data/feature_std data/target_mean data/target_std``, and the loss, where ``data/same_label``
        comes and after each validation.

    Args:
        offset: standard deviations from zero; higher = later. Default 2.5: an offset of 3 did harm in 9 of 10 trainings
            without normalization in front (4 to 17 points on small images), raw natural images lie at 2.
        low: smallest standard deviation. Default 0.05: 0.03 did harm in each of 6 trainings without normalization in
            front, 0.38 in none.
        high: largest standard deviation. Default 25: with 30 and 100 half of them were harmed.
        far: standard deviations from zero that a normalization behind the first layer doesn't put right; higher =
            later. Default 30: an offset of 100 cost a residual net with BatchNorm 39 points, whose running means lag.

    Fires when:
        a warning for an offset, or a scale with the loss or validation at no better than 0.9 times chance (after 2 % of
        the plan, 60 to 1,000 steps; where R is above 0.985 after 30, where inputs are too small after 12), or one that
        is too large with three classes or more and the loss above 0.3 times chance after 0.15 of the plan (at 30 and
        100, harmed trainings had 0.35 and more there, the others 0.25 at most), 0.6 in a model with normalization
        layers further in (harmed: 0.8 and more, not harmed: 0.43). Info for a scale alone, for columns and for targets.
        Behind a normalization or embedding among the first two layers, inputs are judged only beyond ``far`` with the
        loss or validation at no better than 0.9 times chance, from step 12 on as well.

    False alarms:
        Counts and standardized data with few large values. Measured: `benchmarks/results/data_rules.md`.

    Cost:
        One pass over the batch's inputs at sampled steps; told after 5, 10, 20, 40 ... of them.

    Examples:
        >>> detector = DataUnnormalized()
        >>> values = {"data/feature_mean": np.full(3, 3.4), "data/feature_std": np.ones(3)}
        >>> for step in range(1, 21):
        ...     found = detector.update(Reading(step, 0, values))
        ...     if found is not None:
        ...         break
        >>> step, str(found.severity), round(found.evidence["value"], 1)
        (1, 'warning', 3.4)

    References:
        LeCun et al., Efficient backprop, 1998, section 4.3.
    """

    rule: ClassVar[str] = "data/unnormalized"
    code: ClassVar[str] = "I005"
    reads: ClassVar[tuple[str, ...]] = (
        "data/feature_mean", "data/feature_std", "data/target_mean", "data/same_label", "loss/val",
    )  # fmt: skip
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Inputs are not normalized"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, offset: float = 2.5, low: float = 0.05, high: float = 25.0, far: float = 30.0) -> None:
        self.offset = number("offset", offset, 0)
        self.far = number("far", far, 0)
        self.low = number("low", low, 0, 1)
        self.high = number("high", high, 1)
        super().__init__()

    def _reset(self) -> None:
        self._doing = Doing(sure=AT_ONCE_STEPS)
        self._inputs = 0  # how many there are; 0 = not seen yet
        self._scale: list[float] = []  # the newest: offset, standard deviation, columns; empty where they don't vary
        self._targets = [0.0, 0.0, 0.0]  # sampled batches, sum of their means, sum of their mean squares

    def update(self, reading: Reading) -> Finding | None:
        """Judge the inputs so far."""
        self._doing.see(reading)
        target = self._of_targets(reading)
        if target is not None:
            return target
        mean, std = reading.vector("data/feature_mean"), reading.vector("data/feature_std")
        if mean is not None and std is not None:
            known = np.isfinite(mean) & np.isfinite(std)
            varies = (std[known] > 0).any()
            self._inputs, self._scale = len(mean), _scale(mean[known], std[known]) if varies else []
        if not self._inputs:
            raise NotMeasurable(unseen(reading, "data/feature_mean"))
        if not self._scale:
            raise NotMeasurable("the inputs don't vary")
        scale = _Scale(self._scale[0], self._scale[1], np.array(self._scale[2:]))
        if reading.facts.input_normalized and not (scale.offset > self.far and self._suffers(at_once=True)):
            raise NotMeasurable("a normalization or embedding is among the first two layers")
        return self._judge(reading, scale, self._inputs)

    def _of_targets(self, reading: Reading) -> Finding | None:
        """Judge the targets of a regression."""
        mean, spread = reading.scalar("data/target_mean"), reading.scalar("data/target_std")
        if mean is None or spread is None or not np.isfinite([mean, spread]).all():
            return None
        count, total, squares = self._targets
        self._targets = [count + 1, total + mean, squares + mean**2 + spread**2]
        count, total, squares = self._targets
        middle = total / count
        std = max(squares / count - middle**2, 0.0) ** 0.5
        plain = max(std, abs(middle)) > FAR * self.high
        if (
            count < (FEW if plain else BATCHES)
            or std == 0
            or (self.low <= std <= self.high and abs(middle) <= self.high)
        ):
            return None
        limit = self.low if std < self.low else self.high
        return self.found(
            reading,
            Severity.WARNING if self._suffers() else Severity.INFO,
            f"The targets have mean {middle:.3g} and standard deviation {std:.3g} (limit {limit:g}): a network's first "
            "answers lie around 0.",
            where=("target",),
            evidence={"value": std, "limit": limit, "mean": middle},
            advice=(
                "subtract the training targets' mean and divide by their standard deviation, undo it for the answers, "
                "and train 200 steps: if the loss over its chance level falls faster, that was it",
            ),
        )

    def _judge(self, reading: Reading, scale: _Scale, total: int) -> Finding | None:
        suffers = self._suffers(at_once=scale.std < self.low)
        if scale.offset > self.offset:
            text = f"The inputs lie {scale.offset:.3g} standard deviations from zero (limit {self.offset:g})"
            return self._finding(reading, Severity.WARNING, text, scale.offset, self.offset, scale, total)
        if not self.low <= scale.std <= self.high:
            limit = self.low if scale.std < self.low else self.high
            text = f"The inputs have a standard deviation of {scale.std:.3g} (limit {limit:g})"
            suffers = suffers or (scale.std > self.high and self._slow(reading))
            severity = Severity.WARNING if suffers else Severity.INFO
            return self._finding(reading, severity, text, scale.std, limit, scale, total)
        if scale.columns.size:
            text = f"{scale.columns.size} of {total} inputs lie more than {OWN:g} standard deviations from zero"
            severity = Severity.WARNING if suffers else Severity.INFO
            return self._finding(reading, severity, text, float(scale.columns.size), 0.0, scale, total)
        return None

    def _suffers(self, *, at_once: bool = False) -> bool:
        """Whether it shows; ``at_once``: from step 12 on. Inputs too large begin far above chance and get until 30."""
        doing = self._doing
        soon = at_once or doing.loss.watched >= SURE_STEPS or doing.val > 0.9
        return soon and doing.suffers

    def _slow(self, reading: Reading) -> bool:
        """Whether much of the loss is left when a run with inputs of a usual scale has learned most."""
        late = (reading.progress or 0.0) >= SLOW
        limit = LEFT_NORMALIZED if reading.facts.normalized else LEFT
        return late and several_classes(reading.facts) and self._doing.loss.known and self._doing.loss.relative > limit

    def _finding(
        self, reading: Reading, severity: Severity, text: str, value: float, limit: float, scale: _Scale, total: int
    ) -> Finding:
        normalized = reading.facts.input_normalized
        behind = (
            "the normalization behind them doesn't help"
            if normalized
            else ("no normalization is among the first two layers")
        )
        return self.found(
            reading,
            severity,
            f"{text}, and {behind}.",
            where=feature_names(reading, scale.columns.astype(np.int64)[:NAMED], total),
            evidence={"value": value, "limit": limit, "std": scale.std, "offset": scale.offset},
            advice=(
                "subtract the training set's mean and divide by its standard deviation, and train 200 steps: if the "
                "loss falls faster, that was it",
                "or put a normalization layer in front",
            ),
        )


def _scale(mean: Array, std: Array) -> list[float]:
    usual = float(np.sqrt(np.mean(std**2)))
    whole = float(np.sqrt(np.mean(std**2) + np.var(mean)))
    off = np.flatnonzero((np.abs(mean) > OWN * np.maximum(std, 1e-12)) & (np.abs(mean) > OWN * usual) & (std > 0))
    return [abs(float(mean.mean())) / whole, whole, *off.astype(np.float64).tolist()]
