"""``fit/too-good``: a result that honest training rarely gives this early or this clearly."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._trend import TrendDetector
from lightning_diag.detectors._validation import accuracy_error
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

SCRATCH = 0.6  # first level over chance below which the weights were not random
GROUND = 0.02  # how far below its floor (in units of chance - floor) a level must be: the floor is an estimate

FRESH = 8  # readings of the running train accuracy since the last validation that make it comparable


class FitTooGood(TrendDetector):
    """A result that honest training rarely gives this early or this clearly.

    Catches:
        A label that stands in the input, validation samples that stand in the training set, a mask that lets a language
        model see the next token, a loss that is not the one it is taken for.

    Formula:
        one of: (a) ``R < early_limit`` in the first epoch and the first ``early_frac`` of the plan, after a start near
        chance: every sample was new; (b) ``accuracy/val >= perfect`` at the first validation, under the same
        conditions, with 200 samples or more; (c) level below the floor by 2 % of what there is to gain; (d)
        ``accuracy/val - accuracy/train > max(gap, 4 standard errors)`` in ``evals`` validations in a row, each with
        at least 8 readings of the train accuracy since the one before.

    Reads:
        ``loss/train loss/level`` at every step, ``accuracy/val val/samples accuracy/train``; the facts chance_loss
        (must be known for a to c), loss_floor, planned_steps.

    Args:
        early_limit: R that is too low so early; lower = fires on fewer runs. Default 1e-3: digit classifiers end their
            first epoch near 0.05.
        early_frac: what counts as early, as a share of the plan (without a plan the first epoch is); higher = fires on
            more runs. Default 0.05.
        perfect: validation accuracy that is too high so early; higher = fires on fewer runs. Default 0.998.
        gap: validation less train accuracy; higher = fires on fewer runs. Default 0.25, above what dropout does; mixup
            does 0.46, which is why (d) is only a note.
        evals: validations in a row for (d); higher = later. Default 5.

    Fires when:
        info; a warning only if (a) and (b) hold together. It never resolves. Not judged for weights that start below
        0.6 of chance (pretrained), with several optimizers or manual optimization.

    False alarms:
        None in 352 simulated healthy runs of 200 to 20,000 steps (`benchmarks/results/false_alarms_loss.md`). Mixup,
        strong augmentation, dropout and noisy training labels give (d) in healthy runs, problems that can be separated
        perfectly give (a) and (b).

    Cost:
        0.9 µs a step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> from lightning_diag.reading import Facts
        >>> judge, rng = Judge([FitTooGood()]), np.random.default_rng(0)
        >>> facts = Facts(planned_steps=10_000, chance_loss=2.30)
        >>> for step in range(1, 500):
        ...     loss = 2.30 * np.exp(-step / 20 + 0.1 * rng.standard_normal())
        ...     for finding in judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}, facts))):
        ...         print(step, finding.severity)
        201 info

    References:
        Kapoor and Narayanan, Leakage and the reproducibility crisis in machine-learning-based science, Patterns 4,
        2023.
    """

    rule: ClassVar[str] = "fit/too-good"
    code: ClassVar[str] = "F004"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/level", "accuracy/val", "val/samples", "accuracy/train")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Too good to be true"
    resolve_after: ClassVar[int | None] = None

    def __init__(
        self,
        early_limit: float = 1e-3,
        early_frac: float = 0.05,
        perfect: float = 0.998,
        gap: float = 0.25,
        evals: int = 5,
    ) -> None:
        self.early_limit = number("early_limit", early_limit, 0, 0.5)
        self.early_frac = number("early_frac", early_frac, 0, 1)
        self.perfect = number("perfect", perfect, 0.5, 1)
        self.gap = number("gap", gap, 0, 1)
        self.evals = whole("evals", evals, 1)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._first = math.nan  # first level
        self._accuracy = math.nan  # last train accuracy
        self._fresh = 0  # how many were read since the last validation
        self._row = 0  # validations in a row with the gap
        self._validations = 0
        self._quick = math.nan  # R, once it was too low too early
        self._perfect = math.nan  # accuracy of a first validation that was perfect

    def update(self, reading: Reading) -> Finding | None:
        """Judge the level now and then, and every validation."""
        if "accuracy/train" in reading.values:
            self._accuracy = float(reading.values["accuracy/train"])
            self._fresh += 1
        return super().update(reading)

    def _due(self, reading: Reading) -> bool:
        return "accuracy/val" in reading.values or super()._due(reading)

    def _look(self, reading: Reading) -> Finding | None:
        accuracy = reading.scalar("accuracy/val")
        if accuracy is not None:
            return self._validated(reading, accuracy)
        chance, level = reading.facts.chance_loss, float(reading.values["loss/level"])
        if math.isnan(self._first):
            self._first = level
        if chance is None or chance <= 0:
            raise NotMeasurable("the chance loss is not known")
        floor = min(reading.facts.loss_floor, chance)
        relative = (level - floor) / (chance - floor) if chance > floor else 1.0
        if relative < self.early_limit and self._early(reading, chance):
            self._quick = relative if math.isnan(self._quick) else min(relative, self._quick)
            return self._together(reading)
        if floor > 0 and relative < -GROUND:
            text = f"The training loss {level:.4g} is below the {floor:.4g} that is possible with its label smoothing"
            return self._finding(reading, Severity.INFO, text, level, floor)
        return None

    def _early(self, reading: Reading, chance: float) -> bool:
        progress = reading.progress
        young = reading.epoch == 0 and (progress is None or progress <= self.early_frac)
        return young and self._since == 1 and self._first > SCRATCH * chance

    def _validated(self, reading: Reading, accuracy: float) -> Finding | None:
        chance, samples = reading.facts.chance_loss, reading.scalar("val/samples") or 0.0
        self._validations += 1
        fresh, self._fresh = self._fresh >= FRESH, 0  # a running mean of few samples lags behind a fast start
        least = max(self.gap, 4 * accuracy_error(reading, accuracy))
        ahead = fresh and samples > 0 and accuracy - self._accuracy > least
        self._row = self._row + 1 if ahead else 0
        first = self._validations == 1 and accuracy >= self.perfect and samples >= 200
        if first and chance is not None and self._early(reading, chance):
            self._perfect = accuracy
            return self._together(reading)
        if self._row < self.evals:
            return None
        lead = accuracy - self._accuracy
        text = f"The validation accuracy has been {lead:.3g} above the train accuracy for {self._row} validations"
        return self._finding(reading, Severity.INFO, text, lead, self.gap)

    def _together(self, reading: Reading) -> Finding:
        """Too quick, too perfect, or both: then it is a warning."""
        texts = []
        if not math.isnan(self._quick):
            texts.append(f"the training loss fell to {100 * self._quick:.2g} % of chance")
        if not math.isnan(self._perfect):
            texts.append(f"the first validation accuracy was {self._perfect:.4g} (limit {self.perfect:g})")
        value, limit = (self._quick, self.early_limit) if not math.isnan(self._quick) else (self._perfect, self.perfect)
        text = f"By step {reading.step}, within the first epoch, {' and '.join(texts)}"
        return self._finding(reading, Severity.WARNING if len(texts) == 2 else Severity.INFO, text, value, limit)

    def _finding(self, reading: Reading, severity: Severity, text: str, value: float, limit: float) -> Finding:
        return self.found(
            reading,
            severity,
            f"{text} (limit {limit:.3g})." if "limit" not in text else f"{text}.",
            evidence={"value": value, "limit": limit},
            advice=(
                "count the samples (by a hash of the raw input) that stand in both the training and the validation set",
                "shuffle the labels of one epoch: a model that still reaches this reads them from its input",
                "ignore it if mixup, dropout, augmentation or noisy training labels make training harder, or if the "
                "classes really can be told apart without error",
            ),
        )
