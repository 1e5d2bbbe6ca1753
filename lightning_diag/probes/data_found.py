"""What was found in the first batches, and the words for what was not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import described, find_input, find_target
from lightning_diag.probes.data_keys import hashed_tensors
from lightning_diag.reading import Reading

LOOKS = 3  # sampled steps before something counts as not found
INPUT = ("data/feature_mean", "data/feature_std", "data/feature_min", "data/feature_max", "data/nonfinite_frac")
LABEL = ("data/same_label", "data/target_mean", "data/shift_match", "data/class_r2", "data/val_agreement")
PREDICTION = ("class/support", "class/train_support", "data/noise_frac")
CONTENT = ("data/samples", "data/duplicate_frac", "data/conflict_frac", "data/leaked_frac", "data/near_leaked_frac")


class BatchContentsProbe(Probe):
    """Says once, in the report's coverage, which parts of a batch nobody could find, and what a batch is here."""

    signals = ("data/found",)
    kept = ("_looks", "_found")

    def attach(self, scene: Scene) -> dict[str, str]:
        self._looks = 0
        self._found = [0.0, 0.0, 0.0, 0.0]  # input, samples to tell one by one, target, predictions
        self._words = ""
        self._given: Batch | None = None
        return {}

    def loss(self, batch: Batch) -> None:
        if self._looks < LOOKS:
            self._given = batch

    def collect(self) -> Values:
        batch, self._given = self._given, None
        if batch is None:
            return []
        seen = batch.observation
        known = (
            find_input(batch.batch) is not None,
            bool(hashed_tensors(batch.batch)),
            find_target(batch.batch) is not None or (seen is not None and seen.target is not None),
            seen is not None and seen.target is not None,
        )
        self._found = [max(old, float(new)) for old, new in zip(self._found, known, strict=True)]
        self._looks += 1
        if self._looks < LOOKS:
            return []
        self._words = described(batch.batch)
        return [("data/found", np.array(self._found))]

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        found = reading.vector("data/found")
        if found is None:
            return {}
        batch = f"batches are {self._words}" if self._words else "the batches have no such part"
        reasons: dict[str, str] = {}
        for there, signals, what in zip(
            found,
            (INPUT, CONTENT, LABEL, PREDICTION),
            ("one tensor of inputs", "tensors with one row a sample", "a target", "a target and the predictions of it"),
            strict=True,
        ):
            if not there:
                reasons |= dict.fromkeys(signals, f"{what} can't be found: {batch} (`observe=` can say where)")
        return {"unmeasured": reasons} if reasons else {}

    def detach(self) -> None:
        self._given = None
