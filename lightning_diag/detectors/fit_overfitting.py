"""``fit/overfitting``: the training loss still falls while validation has become worse than its own best."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._memorizing import SETTLED, advice, apart, in_words, lasting
from lightning_diag.detectors._trend import one_objective
from lightning_diag.detectors._validation import Series, accuracy_error
from lightning_diag.detectors.base import NEVER, Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

BY_HEART = 0.99  # train accuracy from which the training set is learned by heart
NEARLY = 0.95  # ... or nearly: a running mean lags
FEW = 50  # different training samples a class up to which ``note`` alone is a warning then: there is too little data
SURE = 6.0  # binomial errors of the validation accuracy that it must exceed


class FitOverfitting(Detector):
    """The training loss still falls while validation has become worse than its own best.

    Catches:
        A model that memorizes: every further step makes it worse on data it has not seen.

    Formula:
        Worse: all of the last ``evals`` validations are worse than the best median of three by more than ``k`` times
        the noise of one validation, ``k = 2 + sqrt(2 log n)`` after ``n`` validations (the lowest of n is low by luck),
        and, for the loss, by more than ``min_rise`` and 2 % of chance. The noise of a validation is its jitter,
        ``1.4826 * median |second difference| / sqrt(6)`` (up to 16 validations from third differences, which a curve
        that bends leaves small; then the last of ``evals`` rises in a row is enough, 2 noises higher); for an accuracy
        at least half its binomial error. Memorized: the mean training level since the last validation is below what it
        was at the best one; or, with both accuracies, ``accuracy/train - accuracy/val > max(gap, 4 binomial errors)``
        in all of the last ``evals``. Apart: of a language model that has passed over its data more than 4 times the
        validation loss lies above the training level by more than ``apart`` of chance in all of the last ``evals``.

    Reads:
        ``loss/val accuracy/val val/samples`` of each validation; ``loss/level accuracy/train data/samples`` in
        between.

    Args:
        gap: train less validation accuracy from which the model memorizes; higher = fires on fewer runs. Default 0.15:
            140 healthy short trainings ended at 0.14 or less.
        evals: validations in a row that must agree; higher = later, quieter. Default 3.
        min_rise: rise of the validation loss over its best, as a share of it; higher = later. Default 0.1.
        language: the same for language models, whose loss is known well and is all there is. Default 0.03.
        note: gap that is noted where the training set is learned by heart (99 % right); higher = fewer notes. Default
            0.07: more data would help.
        alone: gap that is a warning while validation is no worse; higher = fewer warnings. Default 0.3: healthy runs
            of the fault zoo went to 0.18, good published ones to 0.2 (CIFAR-100, arXiv:1605.07146).
        apart: the same difference of a language model's losses, over chance. Default 0.2: healthy ones of the fault zoo
            that passed over their data so often had up to 0.16, 21 of 22 that had 50 to 300 texts 0.2 to 2.4.

    Fires when:
        a warning when a language model's losses are apart after a quarter of the plan, when memorized and the
        validation accuracy is worse, or the gap is there and the validation loss is worse, or only losses are known and
        the loss is worse, or the gap is above ``alone`` and 6 binomial errors in all of the last ``evals`` after a
        quarter of the plan (what is learned there does not carry over), or there is a gap above ``note`` by then and at
        most 50 different training samples a class are learned by heart. Info when only the loss is worse while accuracy
        is not (the model grows too sure of itself, its decisions are no worse; a language model's loss decides), or
        only the gap is there, smaller or earlier, or above ``note`` with the set learned by heart. Not judged with
        several optimizers or manual optimization, nor before ``evals`` validations; whether validation is worse than
        its best not before two more.

    False alarms:
        None in 352 simulated healthy runs of 200 to 20,000 steps with 20 validations each
        (`benchmarks/results/false_alarms_loss.md`); on pure validation noise the loss part alone passes in about 1 % of
        runs of 60 validations. Recall there: 20 of 20.

    Cost:
        0.5 µs a step, 20 µs a validation.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> judge, rng = Judge([FitOverfitting()]), np.random.default_rng(0)
        >>> for step in range(1, 1001):
        ...     train = {"loss/train": np.float64(np.exp(-step / 200))}
        ...     _ = judge.update(judge.enrich(Reading(step, 0, train)))
        ...     if step % 50 == 0:
        ...         val = {"loss/val": np.float64(0.5 + np.exp(-step / 100) + 1e-3 * step + 0.02 * rng.normal())}
        ...         for finding in judge.update(Reading(step, 0, val, stage="validation")):
        ...             print(step, finding.severity, finding.evidence["best_step"])
        450 warning 250

    References:
        Prechelt, Early stopping - but when?, 1998. Guo et al., On calibration of modern neural networks, 2017
        (arXiv:1706.04599): validation loss overfits before accuracy does.
    """

    rule: ClassVar[str] = "fit/overfitting"
    code: ClassVar[str] = "F001"
    reads: ClassVar[tuple[str, ...]] = (
        "loss/val", "accuracy/val", "val/samples", "accuracy/train", "loss/level", "data/samples",
    )  # fmt: skip
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Overfitting"
    resolve_after: ClassVar[int | None] = 3
    rests_until: int = NEVER  # judged at validations

    def __init__(
        self, gap: float = 0.15, evals: int = 3, min_rise: float = 0.1, note: float = 0.07, language: float = 0.03,
        alone: float = 0.3, apart: float = 0.2,
    ) -> None:  # fmt: skip
        self.gap = number("gap", gap, 0, 1)
        self.evals = whole("evals", evals, 1, 50)
        self.min_rise = number("min_rise", min_rise, 0)
        self.language = number("language", language, 0)
        self.note = number("note", note, 0, 1)
        self.alone = number("alone", alone, 0, 1)
        self.apart = number("apart", apart, 0)
        super().__init__()

    def _reset(self) -> None:
        self._loss, self._error = Series(), Series()
        self._sum, self._steps = 0.0, 0  # training levels since the last validation
        self._train = math.nan  # their mean at the last validation
        self._train_at = {"loss": math.nan, "error": math.nan}  # the same at each series' best
        self._samples = math.inf  # different training samples
        self._accuracy = math.nan  # last train accuracy
        self._level = math.nan  # newest training level
        self._apart: list[float] = []  # validation less training loss over chance, of a language model
        self._gaps: list[float] = []  # train less validation accuracy where it passed its limit, else 0
        self._unit = math.nan  # first validation loss: stands in for chance
        self._why = "no validation was read yet"

    def update(self, reading: Reading) -> Finding | None:
        """Gather training levels; judge at a validation."""
        values = reading.values
        if "loss/level" in values:
            self.take(reading)
        self._samples = float(values.get("data/samples", self._samples))
        self._accuracy = float(values.get("accuracy/train", self._accuracy))
        if "loss/val" not in values and "accuracy/val" not in values:
            raise NotMeasurable(self._why)
        try:
            one_objective(reading)
            self._gather(reading)
            judged, far = self._settled or self._gapped(self.gap), lasting(reading, self._apart, self.evals, self.apart)
            if not judged and not far:
                raise NotMeasurable(f"needs {self.evals + 2} validations")
        except NotMeasurable as reason:
            self._why = str(reason)
            raise
        found = self._judge(reading) if judged else None
        return self._parted(reading) if far and (found is None or found.severity < Severity.WARNING) else found

    def take(self, reading: Reading) -> None:
        """Gather one more training level."""
        self._level = float(reading.values["loss/level"])
        self._sum += self._level
        self._steps += 1

    def _gather(self, reading: Reading) -> None:
        """Put one validation into the series."""
        if self._steps:
            self._train, self._sum, self._steps = self._sum / self._steps, 0.0, 0
        loss, accuracy = reading.scalar("loss/val"), reading.scalar("accuracy/val")
        for name, series, value in (
            ("loss", self._loss, loss),
            ("error", self._error, None if accuracy is None else 1 - accuracy),
        ):
            if value is not None:
                series.push(reading.step, value)
                if series.best_step == reading.step:
                    self._train_at[name] = self._train
        if loss is not None:
            self._apart = [*self._apart, apart(reading, self._level)][-self.evals :]
            self._unit = abs(loss) if math.isnan(self._unit) else self._unit
        if accuracy is not None:
            passed = self._accuracy - accuracy > 4 * accuracy_error(reading, accuracy)
            self._gaps = [*self._gaps, self._accuracy - accuracy if passed else 0.0][-self.evals :]

    def _judge(self, reading: Reading) -> Finding | None:
        gapped = self._gapped(self.gap)
        if not self._settled:
            return self._gap(reading)
        chance = reading.facts.chance_loss or self._unit
        language = reading.facts.task == "language-model"
        rise = self.language if language else self.min_rise
        loss = self._loss.worse(self.evals, max(rise * abs(self._loss.best), 0.02 * chance))
        accuracy = reading.scalar("accuracy/val")
        noise = 0.5 * accuracy_error(reading, accuracy) if accuracy is not None else 0.0
        error = self._error.worse(self.evals, 0.01, noise if math.isfinite(noise) else 0.0)
        if error is not None and (gapped or self._falls("error")):
            harm = gapped or loss is not None
            return self._finding(reading, "error", error, Severity.WARNING if harm else Severity.INFO, "")
        if loss is not None and (gapped or self._falls("loss")):
            if gapped or language or not self._error.count:
                return self._finding(reading, "loss", loss, Severity.WARNING, "")
            why = ", but the accuracy is no worse: the model is too sure of itself, its decisions still hold"
            return self._finding(reading, "loss", loss, Severity.INFO, why)
        by_heart = self._accuracy >= BY_HEART or self._few_learned(reading)
        return self._gap(reading) if gapped or (by_heart and self._gapped(self.note)) else None

    @property
    def _settled(self) -> bool:
        """Whether there were enough validations to know what the best is."""
        return max(self._loss.count, self._error.count) >= self.evals + 2

    def _gapped(self, limit: float) -> bool:
        """Whether train accuracy was surely and by so much above validation accuracy at each of the last ones."""
        return len(self._gaps) == self.evals and min(self._gaps) > limit

    def _few_learned(self, reading: Reading) -> bool:
        """Whether a training set of few samples a class is learned."""
        return self._accuracy >= NEARLY and self._samples <= FEW * (reading.facts.num_classes or 0)

    def _falls(self, name: str) -> bool:
        """Whether the training level is below what it was at the best validation."""
        before = self._train_at[name]
        return self._train < before - 0.02 * abs(before)

    def _finding(self, reading: Reading, name: str, limit: float, severity: Severity, why: str) -> Finding:
        series = self._loss if name == "loss" else self._error
        what, now = "loss" if name == "loss" else "error rate", f"{series.last[-1]:.4g}"
        stays = min(series.last[-self.evals :]) > limit
        lately = f"{now} has been above {limit:.4g} for {self.evals} validations"
        if not stays:
            lately = f"rose {self.evals} times in a row to {now} (limit {limit:.4g})"
        return self.found(
            reading,
            severity,
            f"The validation {what} {lately}, its best was {series.best:.4g} at step {series.best_step}, while the "
            f"training loss went from {self._train_at[name]:.4g} to {self._train:.4g}{why}.",
            evidence={
                "value": series.last[-1],
                "limit": limit,
                "best": series.best,
                "best_step": series.best_step,
                "train_level": self._train,
                "accuracy_gap": self._gaps[-1] if self._gaps else 0.0,
            },
            advice=advice(series.best_step, calibration=bool(why)),
            step=series.best_step,
        )

    def _gap(self, reading: Reading) -> Finding:
        late = reading.progress is not None and reading.progress >= SETTLED
        sure = min(self._gaps) > max(self.alone, SURE * accuracy_error(reading, 1 - self._error.last[-1]))
        limit = self.alone if sure and late else self.gap if self._gapped(self.gap) else self.note
        few = self._few_learned(reading)
        data = f": {self._samples:.0f} different training samples are learned by heart" if few else ""
        return self.found(
            reading,
            Severity.WARNING if late and (sure or few) else Severity.INFO,
            f"The train accuracy {self._accuracy:.3g} is {self._gaps[-1]:.3g} above the validation accuracy (limit "
            f"{limit:g}), which has not become worse so far{data}.",
            evidence={"value": self._gaps[-1], "limit": limit, "best_step": self._error.best_step},
            advice=advice(self._error.best_step, calibration=False),
        )

    def _parted(self, reading: Reading) -> Finding:
        best, now = self._loss.best_step, self._apart[-1]
        text = in_words(self._loss.last[-1], self._level, now, self.apart)
        evidence = {"value": now, "limit": self.apart, "best_step": best}
        return self.found(reading, Severity.WARNING, text, evidence=evidence, advice=advice(best, calibration=False))
