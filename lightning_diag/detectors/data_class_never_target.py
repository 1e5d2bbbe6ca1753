"""``data/class-never-target``: the model can answer a class that is never asked for."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._classes import no_tokens
from lightning_diag.detectors._data import Order
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5
MOST = 1000  # of more classes many never are a target by nature
FEW = 10  # different training samples a class, below which some have none by chance


class DataClassNeverTarget(Detector):
    """A class the head can answer has never been a target in training.

    Catches:
        Labels that count from 1, an ``ignore_index`` that is a class, a class that the split lost.

    Formula:
        training targets of the class equal 0 after so many targets that an even share would be ``expected`` of them.
        Only batches that were looked at count, the pixels of an image as one target, and targets that come together by
        their design effect (Kish): ``n / (1 + (B - 1) excess)``, with ``excess`` the share of a batch's pairs with one
        label beyond chance. Where batches are sorted by label, classes are judged only if every batch was looked at,
        from the third epoch on: by then one epoch is counted to its end. Not judged with fewer than 10 different
        samples a class: drawn evenly, ``K exp(-n / K)`` classes have none (of 26 one in every second set of 100
        samples, and one in 850 sets of 260).

    Reads:
        ``class/train_support`` (accumulated), ``class/support``, ``data/same_label``, ``accuracy/train``,
        ``data/samples``.

    Args:
        expected: even share of targets seen before a class is judged; higher = later. Default 30.

    Fires when:
        info; a warning where validation asks for the class.

    False alarms:
        A head that is wider than the classes on purpose (vocabularies padded to a round number) stays a note. Not
        judged for more than 1,000 classes.

    Cost:
        O(K) a validation pass.

    Examples:
        >>> values = {"class/train_support": np.array([0.0, 200.0, 200.0]), "class/support": np.array([20.0, 20, 20])}
        >>> found = DataClassNeverTarget().update(Reading(47, 0, values, stage="validation"))
        >>> str(found.severity), found.where
        ('warning', ('class 0',))

    References:
        PyTorch documentation, ``torch.nn.CrossEntropyLoss`` (``ignore_index``). Kish, Survey sampling, 1965, section
        5.4.
    """

    rule: ClassVar[str] = "data/class-never-target"
    code: ClassVar[str] = "I010"
    reads: ClassVar[tuple[str, ...]] = ("class/train_support", "class/support", "accuracy/train")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "A class is never a target"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, expected: float = 30.0) -> None:
        self.expected = number("expected", expected, 1)
        super().__init__()

    def _reset(self) -> None:
        self._train: list[float] = []
        self._val: list[float] = []
        self._order = Order()
        self._different = math.inf  # training samples
        self._batches = self._step = 0  # batches looked at, and the step of the newest
        self._skipped = False  # whether there were others

    def update(self, reading: Reading) -> Finding | None:
        """Add targets; judge the classes."""
        no_tokens(reading)
        self._see(reading)
        different = reading.scalar("data/samples")  # comes with a validation pass
        self._different = self._different if different is None else different
        self._train = _added(self._train, reading.vector("class/train_support"))
        val = reading.vector("class/support")
        if val is not None:
            self._val = val.tolist()
        total = np.array(self._train)
        if not 2 <= total.size <= MOST:
            raise NotMeasurable(f"needs 2 to {MOST} classes whose training targets are known, has {total.size}")
        if self._order.sorted and (self._skipped or reading.epoch < 2):
            raise NotMeasurable("batches are sorted by label, and not every batch of an epoch was looked at")
        if self._independent(reading, float(total.sum())) < self.expected * total.size:
            raise NotMeasurable(f"needs {self.expected:g} independent training targets a class on average")
        if self._different < FEW * total.size:
            raise NotMeasurable(f"fewer than {FEW} different training samples a class: some have none by chance")
        never = np.flatnonzero(total == 0)
        if not never.size:
            return None
        asked = np.array(self._val) if len(self._val) == total.size else np.zeros(total.size)
        missed = never[asked[never] > 0]
        first = missed if missed.size else never
        names = reading.names("class")
        places = [names[int(k)] if int(k) < len(names) else f"class {int(k)}" for k in first[:NAMED]]
        share = float(asked[missed].sum() / max(asked.sum(), 1))
        also = f"; {percent(share)} of the validation targets are of such a class" if missed.size else ""
        return self.found(
            reading,
            Severity.WARNING if missed.size else Severity.INFO,
            f"{places[0]} was none of {total.sum():.0f} training targets (limit {self.expected:g} expected){also}.",
            where=places,
            evidence={"value": float(never.size), "limit": 0.0, "validation_share": share},
            advice=("count the labels of the training set, and compare `ignore_index` and the first label with 0",),
        )

    def _see(self, reading: Reading) -> None:
        """Count the batches that were looked at."""
        self._order.see(reading)
        if "accuracy/train" in reading.values:
            self._skipped |= reading.step > self._step + 1
            self._step = reading.step
            self._batches += 1
        else:  # a validation pass: the last step before it, unless that wasn't looked at
            self._skipped |= reading.step > self._step

    def _independent(self, reading: Reading, targets: float) -> float:
        """How many targets drawn one by one say as much as those that came."""
        size = reading.facts.batch_size
        if size is None or not self._batches:
            return targets
        samples = min(targets, float(self._batches * size))
        return samples if self._order.sorted else samples / (1 + (size - 1) * max(0.0, self._order.excess))


def _added(old: list[float], new: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None) -> list[float]:
    if new is None:
        return old
    total: list[float] = (np.array(old) + new if len(old) == new.size else new).tolist()
    return total
