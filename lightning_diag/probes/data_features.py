"""The inputs and labels of batches: scale, constants, order, and what a single input says of the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes import data_kernels as kernels
from lightning_diag.probes import sequence_kernels
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import find_input
from lightning_diag.probes.data_inputs import normalizes_inputs, parts_of, sums_of
from lightning_diag.probes.domain_sums import wide
from lightning_diag.probes.observer import are_tokens

MAX_CLASSES = 1024
FEW = 5  # samples of a class below which it says nothing of an input: one outlier would be all of its variance
AGREES = 20  # samples a class, on average, from which mean inputs are compared with validation's
FIRST = 5  # sampled batches before features are told; then after 10, 20, 40 ...


class DataFeatureProbe(Probe):
    """Sums of up to 256 input features, how alike a batch's labels are, inputs by class. At sampled steps only."""

    signals = (
        "data/feature_mean", "data/feature_std", "data/feature_min", "data/feature_max", "data/feature_batches",
        "data/nonfinite_frac", "data/same_label", "data/same_label_chance", "data/target_mean", "data/target_std",
        "data/class_r2", "data/class_r2_chance", "data/val_agreement", "data/shift_match",
        "data/shift_astray",
    )  # fmt: skip
    kept = ("_features", "_by_class", "_by_chance", "_labels", "_batches", "_next")

    def attach(self, scene: Scene) -> dict[str, str]:
        self._normalized = normalizes_inputs(scene.module)
        self._features: Tensor | None = None
        self._by_class: Tensor | None = None
        self._by_chance: Tensor | None = None  # the same with each batch's labels moved by one sample
        self._val_by_class: Tensor | None = None
        self._labels: Tensor | None = None
        self._values: Values = []
        self._given: Batch | None = None
        self._batches, self._next = 0, FIRST
        return {}

    def facts(self) -> Mapping[str, Any]:
        return {"input_normalized": self._normalized}

    def loss(self, batch: Batch) -> None:
        if not batch.observed:  # a second loss of a batch is no second batch
            self._given = batch

    def observed(self, batch: Batch) -> None:
        self._given = None
        if not batch.observed:
            self._measure(batch)

    def collect(self) -> Values:
        if self._given is not None:  # nobody knows its predictions
            self._measure(self._given)
            self._given = None
        values, self._values = self._values, []
        if self._features is not None and self._batches >= self._next:
            self._next = 2 * self._batches  # they settle: less and less is news
            values += [*_feature_values(self._features), ("data/feature_batches", float(self._batches))]
        return values

    def validation_start(self) -> None:
        self._val_by_class = None

    def validation_batch(self, batch: Batch) -> None:
        seen = batch.observation
        if seen is not None and seen.target is not None and self._by_class is not None:
            made = sums_of(batch, seen.target, self._by_class.shape[1])
            if made is not None:
                self._val_by_class = made if self._val_by_class is None else self._val_by_class + made

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        if self._by_class is None:
            return []
        values: Values = [("data/class_r2", _explained(self._by_class))]
        if self._by_chance is not None:
            values.append(("data/class_r2_chance", _explained(self._by_chance).nan_to_num(0.0).max()))
        if self._val_by_class is not None and self._val_by_class.shape == self._by_class.shape:
            values.append(("data/val_agreement", _agreement(self._by_class, self._val_by_class)))
        return values

    def detach(self) -> None:
        self._features = self._by_class = self._by_chance = self._val_by_class = self._given = None

    def _measure(self, batch: Batch) -> None:
        given = find_input(batch.batch)
        features = None if given is None or given.is_sparse or given.is_nested else kernels.as_features(given)
        if features is not None:
            made = kernels.feature_sums(features)
            self._features = kernels.add_sums(self._features, made)
            self._batches += 1
            self._values.append(("data/nonfinite_frac", 1 - made[0].sum() / features.numel()))
        seen = batch.observation
        if seen is not None and seen.target is not None:
            self._look(batch, seen, seen.target)

    def _look(self, batch: Batch, seen: Observation, target: Tensor) -> None:
        if target.is_floating_point():
            numbers = wide(target.detach())
            self._values += [("data/target_mean", numbers.mean()), ("data/target_std", numbers.std(correction=0))]
        elif target.ndim == 1 and seen.logits is not None and seen.logits.ndim == 2:
            if 1 < seen.logits.shape[1] <= MAX_CLASSES:
                self._order(batch, target, seen.logits.shape[1])
        else:
            given = find_input(batch.batch)
            if given is not None and are_tokens(given, target) and target.shape[1] > 8:
                self._values += [
                    ("data/shift_match", sequence_kernels.shifts(given, target)),
                    ("data/shift_astray", sequence_kernels.astray(given, target)),
                ]

    def _order(self, batch: Batch, target: Tensor, classes: int) -> None:
        slots = kernels.slots(target, classes)
        parts, made = parts_of(batch, target), sums_of(batch, target, classes, slots)
        counts = kernels.label_counts(target, classes) if made is None else made[0, :, 0]
        self._labels = counts if self._labels is None or self._labels.shape != counts.shape else self._labels + counts
        alike, chance = kernels.pairs_alike(torch.stack([counts, self._labels])).unbind(0)
        self._values += [("data/same_label", alike), ("data/same_label_chance", chance)]
        if made is None or parts is None:
            return
        other = kernels.sums_at(parts, slots.roll(1), classes)
        fits = self._by_class is not None and self._by_class.shape == made.shape
        self._by_class = self._by_class + made if fits and self._by_class is not None else made
        self._by_chance = self._by_chance + other if fits and self._by_chance is not None else other


def _feature_values(sums: Tensor) -> Values:
    mean = sums[1] / sums[0].clamp_min(1)
    std = (sums[2] / sums[0].clamp_min(1) - mean.square()).clamp_min(0).sqrt()
    names = ("mean", "std", "min", "max")
    return [(f"data/feature_{n}", v) for n, v in zip(names, (mean, std, sums[3], sums[4]), strict=True)]


def _explained(sums: Tensor) -> Tensor:
    """Share of each feature's variance that lies between the classes, ``(F,)``; NaN before 5 samples a class.

    Eta squared adjusted for the number of classes: ``1 - (1 - eta2) (n - 1) / (n - K)``, 0 on average by chance.
    Classes of fewer than 5 samples are left out.
    """
    n, total, squares = (sums * (sums[0] >= FEW)).unbind(0)
    count, classes = n.sum(0).clamp_min(1), (n > 0).sum(0)
    mean = total.sum(0) / count
    whole = squares.sum(0) / count - mean.square()
    between = (n * (total / n.clamp_min(1) - mean).square()).sum(0) / count
    share = 1 - (1 - between / whole.clamp_min(1e-12)) * (count - 1) / (count - classes).clamp_min(1)
    return torch.where((whole > 1e-12) & (classes > 1) & (count >= FEW * n.shape[0]), share, torch.nan)


def _agreement(train: Tensor, val: Tensor) -> Tensor:
    """Correlation of the classes' mean inputs on train with those on validation, over classes seen in both.

    NaN before 20 samples a class in training.
    """
    means = [s[1] / s[0].clamp_min(1) for s in (train, val)]
    both = wide((train[0] > 0) & (val[0] > 0))
    centred = [(m - (m * both).sum(0) / both.sum(0).clamp_min(1)) * both for m in means]
    dot = (centred[0] * centred[1]).sum()
    known = dot / (centred[0].square().sum() * centred[1].square().sum()).sqrt().clamp_min(1e-12)
    return torch.where(train[0, :, 0].sum() >= AGREES * train.shape[1], known, torch.nan)
