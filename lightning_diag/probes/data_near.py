"""Validation samples that are nearly training samples: sketches of the first epoch and of the first validation pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.data_sketch import Sketcher
from lightning_diag.reading import Reading
from lightning_diag.streaming.near_matches import CAPACITY, NearMatches

SHIP = 64  # batches that travel together, where no sampled step takes them along sooner
ALONE = "sketches of several processes have different centres"
_MADE = ("data/near_frac", "data/near_leaked_frac", "data/near_leaked_samples")


class DataNearProbe(Probe):
    """Sketches what the content probe has hashed; at most 65,536 training samples and as many of validation.

    Only the first epoch until its first validation pass is sketched: there a sample comes once, and an augmented one
    isn't met again as a near duplicate of itself.
    """

    some_steps = True
    kept = ("_passes", "_open")
    signals = ("data/train_sketches", "data/val_sketches", *_MADE)

    def attach(self, scene: Scene) -> dict[str, str]:
        self._scene = scene
        self._near = NearMatches()
        self._sketcher = Sketcher()
        self._rows: list[Tensor] = []
        self._val: list[Tensor] = []
        self._sketched = self._val_sketched = self._passes = 0
        self._epoch: int | None = None
        self._open = scene.facts.world_size == 1
        self._sampled = False
        self._given: Batch | None = None
        self._made: dict[str, Any] = {}
        return {} if self._open else dict.fromkeys(_MADE, ALONE)

    def batch_start(self, batch: Batch) -> None:
        self._sampled = True

    def loss(self, batch: Batch) -> None:
        if not self._open:
            return
        if self._epoch is None:
            self._epoch = batch.epoch
        if batch.epoch != self._epoch or self._sketched >= CAPACITY:
            self._open = False
            return
        self._given = batch
        if not self._sampled:
            self._sketch()

    def collect(self) -> Values:
        sampled, self._sampled = self._sampled, False
        self._sketch()
        return self._shipped() if sampled or len(self._rows) >= SHIP else []

    def validation_start(self) -> None:
        self._val = []

    def validation_batch(self, batch: Batch) -> None:
        if self._passes or batch.keys is None or self._val_sketched >= CAPACITY or not self._sketched:
            return
        rows = self._sketcher.rows(batch.batch, batch.keys)
        if rows is not None:
            self._val.append(rows)
            self._val_sketched += len(rows)

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        rows, self._val = self._val, []
        if not rows:
            return []
        self._passes, self._open = 1, False  # what was sketched is compared; nothing more is
        return [*self._shipped(), ("data/val_sketches", torch.cat(rows))]

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        train, val = reading.values.get("data/train_sketches"), reading.values.get("data/val_sketches")
        if train is not None:
            self._near.add(train)
        train_loaders, val_loaders = self._scene.loaders()
        if val is None or any(loader.borrowed for loader in val_loaders):
            return {}
        _, first = np.unique(val[:, :3], axis=0, return_index=True)
        found = self._near.found(val[first])  # a blank input counts once
        self._made = {
            "data/near_leaked_frac": np.float64(np.float32(found.mean())),
            "data/near_leaked_samples": np.float64(found.sum()),
        }
        share = self._near.share()
        if not any(loader.replacement for loader in train_loaders) and np.isfinite(share):
            self._made["data/near_frac"] = np.float64(np.float32(share))
        return {}

    def derived(self) -> Mapping[str, Any]:
        made, self._made = self._made, {}
        return made

    def detach(self) -> None:
        self._rows, self._val, self._given = [], [], None

    def _sketch(self) -> None:
        batch, self._given = self._given, None
        if batch is None or batch.keys is None:
            return
        rows = self._sketcher.rows(batch.batch, batch.keys)
        if rows is not None:
            self._rows.append(rows)
            self._sketched += len(rows)

    def _shipped(self) -> Values:
        rows, self._rows = self._rows, []
        return [("data/train_sketches", torch.cat(rows))] if rows else []
