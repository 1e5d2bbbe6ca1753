"""Validation against training: wrong labels cost accuracy and loss on training samples alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._classes import added
from lightning_diag.detectors._data import other_domain
from lightning_diag.reading import Reading
from lightning_diag.streaming.state import restore, snapshot

PAIRS = 2  # in a row that count
ACCURACY, LOSS = 2.0, 3.0  # standard errors that accuracy and loss must be better: where a network is against labels
# the loss is by 3.2 and more with wrong ones, by 1.6 at most without (all zoo sets)
ALONE, LOSS_ALONE = 3.0, 4.0  # the same where no loss is known, and where accuracy is better, but not by that much
AUGMENTED = 0.5  # share of samples that never come again, from which training sees other ones than validation
EACH = 0.25  # share of the pooled difference that each stretch must show: a spike is over in one
STEPS = 3  # losses between two validations from which their spread is known

Array = NDArray[np.float64]


class Contrast:
    """How much better validation is than training between two passes, over the last two of such stretches.

    A network does at least as well on repeated samples with right labels as on new ones: what it is trained on in
    between is held against the worse of the passes before and after, so that neither learning fast nor a spike looks
    like it. Validation recalls are weighted by how often training gives each label. Errors are binomial, of the losses
    by the spread of successive batches; several passes over one validation set count as one.

    Attributes:
        rate: share of training accuracy that is missing, over validation's; NaN before two stretches.
        error: its standard error.
        z: validation accuracy less training's, in standard errors.
        loss_z: training loss less validation's, in standard errors; NaN where none is known.
        always: whether validation had the better accuracy in both stretches.
        loss_always: whether it had the better loss in both.
        best: the largest ``z`` so far.
        alike: whether training and validation ran alike in both stretches, as far as it is known.

    >>> from lightning_diag.reading import Facts
    >>> contrast, facts = Contrast(), Facts(batch_size=32)
    >>> for look in range(4):
    ...     counts = {"class/train_support": [400, 400], "class/train_right": [300, 300],
    ...               "class/support": [200, 200], "class/right": [180, 180]}
    ...     contrast.see(Reading(100 * look, look, {k: np.array(v, float) for k, v in counts.items()}, facts))
    >>> round(contrast.rate, 2), round(contrast.error, 2), round(contrast.z), contrast.always, contrast.loss_z
    (0.17, 0.02, 8, True, nan)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.rate = self.error = self.z = self.loss_z = self.best = math.nan
        self.always, self.loss_always, self.alike = False, False, True
        self._losses = [0.0, 0.0, 0.0, math.nan]  # since the last pass: how many, sum, squared differences, the last
        self._train: list[list[float]] = []  # support and right answers per label since then
        self._val: list[list[float]] = []  # the same of the last pass
        self._val_loss = math.nan
        self._pairs: list[list[float]] = []

    def see(self, reading: Reading) -> None:
        """Take in losses and counts of a reading, as far as it holds any."""
        loss = reading.scalar("loss/train")
        if loss is not None and math.isfinite(loss):
            n, total, squares, last = self._losses
            step = 0.0 if math.isnan(last) else (loss - last) ** 2
            self._losses = [n + 1, total + loss, squares + step, loss]
        train = _counts(reading, "class/train_support", "class/train_right")
        if train is not None:
            self._train = added(self._train, train)
        val = _counts(reading, "class/support", "class/right")
        if val is not None:
            self._close(reading, val)

    def _close(self, reading: Reading, val: Array) -> None:
        """Judge the stretch that ends with this pass."""
        before, train, losses = np.array(self._val), np.array(self._train), self._losses
        val_loss, now = self._val_loss, reading.scalar("loss/val")
        self._val, self._val_loss = val.tolist(), math.nan if now is None else now
        self._train, self._losses = [], [0.0, 0.0, 0.0, math.nan]
        if other_domain(reading):
            self._pairs, self.always, self.loss_always = [], False, False
            return
        if before.shape != val.shape or train.shape != val.shape or not train[0].sum() > 0:
            return
        weight, n = train[0] / train[0].sum(), float(train[0].sum())
        worse = min(_recall(before, weight), _recall(val, weight))
        size = 1 / max(1e-9, float((weight**2 / np.maximum(val[0], 1)).sum()))
        count, total, squares = losses[:3]
        spread = squares / (2 * (count - 1)) if count >= STEPS else math.nan
        worse_loss = float(np.maximum(val_loss, self._val_loss)) if count else math.nan  # NaN stays
        alike = reading.scalar("val/alike")
        pair = [worse, float(train[1].sum()), n, size, worse_loss, total, count, spread]
        self._pairs = [*self._pairs, [*pair, 1.0 if alike is None else alike]][-PAIRS:]
        if len(self._pairs) == PAIRS:
            self._pool(reading)

    def _pool(self, reading: Reading) -> None:
        """Join the last stretches."""
        worse, right, n, size, val_loss, total, count, spread, alike = np.array(self._pairs).T
        self.alike = bool((alike >= 1).all())
        val, train = float(worse.mean()), float(right.sum() / n.sum())
        error = math.sqrt(_variance(val, size[-1]) + _variance(train, n.sum()))
        self.z = (val - train) / error
        self.rate, self.error = (val - train) / max(val, 1e-9), error / max(val, 1e-9)
        self.best = self.z if math.isnan(self.best) else max(self.best, self.z)
        mean, noise = total / np.maximum(count, 1), float(spread.mean())
        samples = max(1, (reading.facts.batch_size or 1) * reading.facts.accumulate * reading.facts.world_size)
        whole = reading.facts.steps_per_epoch or math.inf  # the more of all samples a batch holds, the less they differ
        noise = noise / (1 - 1 / whole) if whole > 1 else math.nan
        # a batch's loss varies as a sample's does over the root of its size
        deviation = math.sqrt(noise / max(1.0, count.sum()) + noise * samples / size[-1]) if noise > 0 else math.nan
        fell = float(total.sum() / max(1.0, count.sum()) - val_loss.mean())
        self.loss_z = fell / deviation if deviation > 0 else math.nan
        self.always = val > train and bool((worse - right / n >= EACH * (val - train)).all())
        self.loss_always = fell > 0 and bool((mean - val_loss >= EACH * fell).all())

    def sure(self, reading: Reading) -> bool:
        """Whether validation is better, surely and by every measure, and nothing else that is known explains it."""
        facts = reading.facts
        if facts.loss_kind is None or facts.loss_floor or facts.dropout or not self.alike:
            return False  # mixed labels, smoothed ones, dropout, an augmentation in the step cost training accuracy
        if (reading.scalar("data/renewed_frac") or 0.0) > AUGMENTED:
            return False
        if math.isnan(self.loss_z):
            return self.always and self.z >= ALONE
        both = self.always and self.z >= ACCURACY and self.loss_z >= LOSS
        return self.loss_always and self.z > 0 and (both or self.loss_z >= LOSS_ALONE)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)


def _counts(reading: Reading, support: str, right: str) -> Array | None:
    """Return both as ``(2, K)``, or None where there are none to speak of."""
    n, hits = reading.vector(support), reading.vector(right)
    if n is None or hits is None or n.shape != hits.shape or not np.isfinite(n).all() or not n.sum() > 0:
        return None
    return np.stack([n, hits])


def _recall(counts: Array, weight: Array) -> float:
    """Mean recall ``(2, K)`` of the labels that validation holds, weighted ``(K,)``."""
    there = counts[0] > 0
    weight = weight * there
    recall = counts[1] / np.maximum(counts[0], 1)
    return float((weight * recall).sum() / max(float(weight.sum()), 1e-9))


def _variance(share: float, n: float) -> float:
    """Binomial, with one success and one failure added."""
    share = (share * n + 1) / (n + 2)
    return float(share * (1 - share) / n)
