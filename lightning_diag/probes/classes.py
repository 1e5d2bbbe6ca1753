"""Per-class counts of every validation pass, and of the training batches that were sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Probe, Scene, Values, moved
from lightning_diag.probes.class_counts import ClassCounts, count_batch, number_of_classes
from lightning_diag.reading import Reading

TRAIN_BATCHES = 64  # sampled training batches after which their counts leave when no validation pass comes


class ClassProbe(Probe):
    """Counts targets, predictions and right predictions per class, on the device, O(K) memory.

    Multi-class and segmentation (every pixel counts) from class scores and integer targets; binary and multi-label from
    scores whose loss was recognized as binary cross-entropy with logits (a score above 0 is a yes). Targets outside
    ``[0, K)`` don't count.

    Args:
        class_names: names in the order of the classes; default ``class 0``, ``class 1`` ... or the data set's
            ``classes`` attribute.
    """

    kept = ("_train",)
    signals = (
        "class/support",
        "class/right",
        "class/predicted",
        "class/confusion",
        "class/train_support",
        "class/train_right",
    )

    def __init__(self, class_names: tuple[str, ...] = ()) -> None:
        self.class_names = class_names

    def attach(self, scene: Scene) -> dict[str, str]:
        self._train: ClassCounts | None = None
        self._val: ClassCounts | None = None
        self._batches = 0
        self._classes: int | None = None
        self._named = 0
        self._binary = False
        self._rank = scene.rank
        return {}

    def observed(self, batch: Batch) -> None:
        if batch.observed:
            return
        self._train = self._count(self._train, batch.observation, whole=False)
        self._batches += 1

    def collect(self) -> Values:
        return self._train_values() if self._batches >= TRAIN_BATCHES else []

    def validation_start(self) -> None:
        self._val = None

    def validation_batch(self, batch: Batch) -> None:
        self._val = self._count(self._val, batch.observation)

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        counts, self._val = self._val, None
        if counts is None:
            return []
        values: Values = [
            ("class/support", counts.support),
            ("class/right", counts.right),
            ("class/predicted", counts.predicted),
        ]
        if counts.confusion.numel():
            values.append(("class/confusion", counts.confusion))
        return values + self._train_values()

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        self._binary = reading.facts.loss_kind == "bce"
        if self._classes is None or self._named == self._classes or not reading.facts.class_scores:
            return {}
        self._named = self._classes
        given = self.class_names or reading.names("class")
        names = given if len(given) == self._classes else tuple(f"class {k}" for k in range(self._classes))
        return {"names": {"class": names}, "num_classes": self._classes}

    def state_dict(self) -> dict[str, Any]:
        train = None if self._train is None else [self._train.support, self._train.right]
        return {
            "classes": self._classes, "binary": self._binary, "batches": self._batches,
            "train": moved(train, torch.device("cpu")),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._classes, self._batches, self._binary = state["classes"], state["batches"], state.get("binary", False)
        if state["train"] is not None and self._rank == 0:
            self._train = ClassCounts(self._classes or 1, device)
            self._train.support, self._train.right = moved(state["train"], device)

    def detach(self) -> None:
        self._train = self._val = None

    def _count(self, counts: ClassCounts | None, seen: Observation | None, *, whole: bool = True) -> ClassCounts | None:
        if seen is None or seen.target is None or seen.logits is None:
            return counts
        classes = number_of_classes(seen)
        multi = not seen.target.is_floating_point() and seen.logits.ndim == seen.target.ndim + 1
        if classes is None or not (multi or self._binary):
            return counts
        if counts is None or counts.classes != classes:
            counts = ClassCounts(classes, seen.target.device)
            self._classes = classes
        with torch.no_grad():
            if multi and not whole:
                counts.count_seen(seen)
            else:
                count_batch(counts, seen)
        return counts

    def _train_values(self) -> Values:
        counts, self._train, self._batches = self._train, None, 0
        if counts is None:
            return []
        return [("class/train_support", counts.support), ("class/train_right", counts.right)]
