"""The data as it passes: content of samples, features of inputs, order and labels of batches."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes import data_kernels as kernels
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.data_inputs import normalizes_inputs, sample_tensors
from lightning_diag.probes.data_labels import LabelSuspects
from lightning_diag.probes.observer import are_tokens, find_input, find_target
from lightning_diag.reading import Reading
from lightning_diag.streaming.sample_ledger import SampleLedger

HASH_FRAC = 0.003  # share of step time that hashing may take on steps that aren't sampled ...
GRACE_S = 0.25  # ... once it has taken this much in all
WAITING = 512  # batches whose hashes may wait for the next sampled step
PASSES = 2  # validation passes that are hashed: what they hold is remembered
MAX_CLASSES = 1024
UNHASHABLE = "the batches hold no tensors that can be told sample by sample"
_CONTENT = (
    "data/samples", "data/kept_frac", "data/duplicate_frac", "data/renewed_frac", "data/conflict_frac",
    "data/leaked_frac", "data/leaked_samples", "data/noise_frac", "data/noise_samples", "data/noise_depth",
    "data/noise_margin",
)  # fmt: skip
_RAW = ("data/train_rows", "data/val_rows")


class DataProbe(Probe):
    """Hashes samples, sums features and looks at the labels of batches.

    *Content*: a 48-bit hash of each training sample (see :func:`~.data_kernels.content_hash`), of every batch as long
    as that takes less than 0.3 % of step time, else of as many as it may; of every sample of the first two validation
    passes. They travel with the packet of the next sampled step and end in a ledger on the host (at most 4.2 million
    samples, 140 MB, beyond it an even sample of them), which is not recorded and not kept in checkpoints. *Features,
    order, margins* come from sampled steps.
    """

    every_step = True
    signals = (
        *_RAW, *_CONTENT, "data/feature_mean", "data/feature_std", "data/feature_min", "data/feature_max",
        "data/nonfinite_frac", "data/same_label", "data/same_label_chance", "data/target_mean", "data/target_std",
        "data/class_r2", "data/val_agreement", "data/shift_match",
    )  # fmt: skip

    def attach(self, scene: Scene) -> dict[str, str]:
        self.ledger = SampleLedger()
        self.suspects = LabelSuspects()
        self._normalized = normalizes_inputs(scene.module)
        self._weights: Tensor | None = None
        self._rows: list[Tensor] = []
        self._val_rows: list[Tensor] = []
        self._val_keys: NDArray[np.float64] = np.empty((0, 2))
        self._sampled = False
        self._given: Batch | None = None
        self._passes = self._epoch = self._last_idx = self._batches = 0
        self._spent_s, self._cost_s, self._step_s, self._at = 0.0, 0.0, 0.0, 0.0
        self._features: Tensor | None = None
        self._by_class: Tensor | None = None
        self._val_by_class: Tensor | None = None
        self._labels: Tensor | None = None
        self._values: Values = []
        self._derived: dict[str, Any] = {}
        self._told = 0
        self._unhashable = False
        return {}

    def facts(self) -> Mapping[str, Any]:
        return {"input_normalized": self._normalized}

    def batch_start(self, batch: Batch) -> None:
        self._sampled = True

    def loss(self, batch: Batch) -> None:
        if batch.batch_idx < self._last_idx:
            self._epoch += 1
        self._last_idx = batch.batch_idx
        if self._sampled:
            self._given = batch  # ``observed`` adds the margins, if it comes
            return
        self._batches += 1
        now = perf_counter()
        if self._at:
            self._step_s = now - self._at if not self._step_s else 0.9 * self._step_s + 0.1 * (now - self._at)
        self._at = now
        if len(self._rows) < WAITING and not self._unhashable and self._batches % self._stride() == 0:
            self._hash(batch, None)
            self._cost_s = perf_counter() - now
            self._spent_s += self._cost_s

    def observed(self, batch: Batch) -> None:
        if not self._sampled:
            return
        self._given = None
        self._measure(batch)

    def collect(self) -> Values:
        if not self._sampled:
            return []
        if self._given is not None:
            self._measure(self._given)
        values, self._values = self._values, []
        if self._features is not None:
            values += self._feature_values(self._features)
        if self._rows:
            values.append(("data/train_rows", torch.cat(self._rows)))
            self._rows = []
        self._sampled, self._given = False, None
        self._at = 0.0
        return values

    def validation_start(self) -> None:
        self._val_rows = []
        self._val_by_class = None
        self._at = 0.0

    def validation_batch(self, batch: Batch) -> None:
        if self._passes < PASSES and len(self._val_rows) < WAITING:
            rows = self._content(batch, None)
            if rows is not None:
                self._val_rows.append(rows[:, :2])
        seen = batch.observation
        if seen is not None and seen.target is not None and self._by_class is not None:
            made = self._sums_by_class(batch, seen.target, self._by_class.shape[1])
            if made is not None:
                self._val_by_class = made if self._val_by_class is None else self._val_by_class + made

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        self._passes += 1
        rows, self._val_rows = self._val_rows, []
        values: Values = []
        if not self._unhashable:
            made = torch.cat(rows) if rows else torch.zeros(0, 2, device=self._device())
            values.append(("data/val_rows", made))
        if self._by_class is not None:
            values.append(("data/class_r2", _explained(self._by_class)))
            if self._val_by_class is not None and self._val_by_class.shape == self._by_class.shape:
                values.append(("data/val_agreement", _agreement(self._by_class, self._val_by_class)))
        return values

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        train, val = reading.values.get("data/train_rows"), reading.values.get("data/val_rows")
        if train is not None and train.size:
            for epoch in np.unique(train[:, 4]):
                self.ledger.add(train[train[:, 4] == epoch, :4], int(epoch))
        if val is not None and val.size:
            self._val_keys = np.unique(np.concatenate([self._val_keys, np.asarray(val)]), axis=0)
        if val is None and self.ledger.rows < 1.5 * self._told + 2000:
            return {}
        return self._tell(reading)

    def derived(self) -> Mapping[str, Any]:
        made, self._derived = self._derived, {}
        return made

    def detach(self) -> None:
        self._rows, self._val_rows, self._features, self._by_class = [], [], None, None

    # ------------------------------------------------------------------ inside

    def _device(self) -> torch.device:
        return torch.device("cpu") if self._weights is None else self._weights.device

    def _stride(self) -> int:
        if self._spent_s < GRACE_S or not self._step_s:
            return 1
        return max(1, int(self._cost_s / (HASH_FRAC * self._step_s)))

    def _measure(self, batch: Batch) -> None:
        """All that is wanted of a sampled micro-batch."""
        seen = batch.observation
        self._hash(batch, seen)
        self._inputs(batch)
        if seen is not None and seen.target is not None:
            self._look(batch, seen)

    def _hash(self, batch: Batch, seen: Observation | None) -> None:
        rows = self._content(batch, seen)
        if rows is not None:
            self._rows.append(rows)

    def _content(self, batch: Batch, seen: Observation | None) -> Tensor | None:
        """Rows ``(B, 5)`` of hash, label, margin and epoch; None where samples can't be told."""
        with torch.no_grad():
            tensors = sample_tensors(batch.batch)
            if not tensors:
                self._unhashable = True
                return None
            if self._weights is None or self._weights.device != tensors[0].device:
                self._weights = kernels.hash_weights(tensors[0].device)
            halves = kernels.content_hash(tensors, self._weights)
            label = margin = torch.full_like(halves[:, 0], torch.nan)
            target = find_target(batch.batch) if seen is None else seen.target
            if target is not None and target.shape == label.shape and target.device == label.device:
                label = target.detach().float()
                if seen is not None and seen.predicted is not None and seen.logits is not None:
                    margin = kernels.margins(seen.logits, target)
            epoch = torch.full_like(label, float(self._epoch))
            return torch.stack([halves[:, 0], halves[:, 1], label, margin, epoch], 1)

    def _inputs(self, batch: Batch) -> None:
        given = find_input(batch.batch)
        features = None if given is None or given.is_sparse or given.is_nested else kernels.as_features(given)
        if features is not None:
            self._features = kernels.add_sums(self._features, kernels.feature_sums(features))
            self._values.append(("data/nonfinite_frac", 1 - torch.isfinite(features).float().mean()))

    def _look(self, batch: Batch, seen: Observation) -> None:
        target, given = seen.target, find_input(batch.batch)
        assert target is not None
        if target.is_floating_point():
            wide = target.detach().double()
            self._values += [("data/target_mean", wide.mean()), ("data/target_std", wide.std(correction=0))]
        elif target.ndim == 1 and seen.logits is not None and seen.logits.ndim == 2:
            classes = seen.logits.shape[1]
            if 1 < classes <= MAX_CLASSES:
                self._order(batch, target, classes)
        elif given is not None and are_tokens(given, target) and target.shape[1] > 8:
            self._values.append(("data/shift_match", kernels.shifts(given, target)))

    def _order(self, batch: Batch, target: Tensor, classes: int) -> None:
        share, counts = kernels.same_label(target, classes)
        self._labels = counts if self._labels is None or self._labels.shape != counts.shape else self._labels + counts
        total = self._labels.sum()
        chance = (self._labels * (self._labels - 1)).sum() / (total * (total - 1)).clamp_min(1)
        self._values += [("data/same_label", share), ("data/same_label_chance", chance)]
        made = self._sums_by_class(batch, target, classes)
        if made is not None:
            fits = self._by_class is not None and self._by_class.shape == made.shape
            self._by_class = self._by_class + made if fits and self._by_class is not None else made

    @staticmethod
    def _sums_by_class(batch: Batch, target: Tensor, classes: int) -> Tensor | None:
        given = find_input(batch.batch)
        flat = None if given is None or given.is_sparse or given.is_nested else kernels.flat_features(given)
        if flat is None or target.ndim != 1 or target.is_floating_point() or flat.shape[0] != target.shape[0]:
            return None
        return kernels.class_sums(flat, target, classes)

    @staticmethod
    def _feature_values(sums: Tensor) -> Values:
        mean = sums[1] / sums[0].clamp_min(1)
        std = (sums[2] / sums[0].clamp_min(1) - mean.square()).clamp_min(0).sqrt()
        names = ("mean", "std", "min", "max")
        return [(f"data/feature_{n}", v) for n, v in zip(names, (mean, std, sums[3], sums[4]), strict=True)]

    def _tell(self, reading: Reading) -> Mapping[str, Any]:
        ledger = self.ledger
        self._told = ledger.rows
        made = {
            "samples": len(ledger) / ledger.kept_frac, "kept_frac": ledger.kept_frac,
            "duplicate_frac": ledger.repeats_frac, "renewed_frac": ledger.renewed_frac,
            "conflict_frac": ledger.conflict_frac,
        }  # fmt: skip
        keys = self._val_keys[ledger.kept(self._val_keys)]
        if len(keys):
            leaked = ledger.holds(keys, rare=True)
            made |= {"leaked_frac": float(leaked.mean()), "leaked_samples": float(leaked.sum()) / ledger.kept_frac}
        share, names = self.suspects.look(ledger, reading.epoch)
        if share is not None:
            made |= {f"noise_{field}": value for field, value in share._asdict().items()}
        self._derived = {f"data/{name}": np.float64(np.float32(value)) for name, value in made.items()}
        unmeasured = dict.fromkeys(_CONTENT, UNHASHABLE) if self._unhashable and not ledger.rows else {}
        return {
            **({"names": {"suspect": names}} if names else {}),
            **({"unmeasured": unmeasured} if unmeasured else {}),
        }


def _explained(sums: Tensor) -> Tensor:
    """Share of each feature's variance that lies between the classes (eta squared), ``(F,)``."""
    n, total, squares = sums[0], sums[1], sums[2]
    count = n.sum(0).clamp_min(1)
    mean = total.sum(0) / count
    whole = squares.sum(0) / count - mean.square()
    between = (n * (total / n.clamp_min(1) - mean).square()).sum(0) / count
    return torch.where(whole > 1e-12, between / whole.clamp_min(1e-12), torch.nan)


def _agreement(train: Tensor, val: Tensor) -> Tensor:
    """Correlation of the classes' mean inputs on train with those on validation, over classes seen in both."""
    means = [s[1] / s[0].clamp_min(1) for s in (train, val)]
    both = ((train[0] > 0) & (val[0] > 0)).double()
    centred = [(m - (m * both).sum(0) / both.sum(0).clamp_min(1)) * both for m in means]
    dot = (centred[0] * centred[1]).sum()
    return dot / (centred[0].square().sum() * centred[1].square().sum()).sqrt().clamp_min(1e-12)
