"""Per-class counts on the device: O(K) memory, no sync; torchmetrics holds the state and knows how ranks merge."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_diag.observation import Observation

CONFUSION_CLASSES = 64  # K x K counts are kept up to here: 32 kB at float64


class ClassCounts(Metric):
    """How often each class was the target, was predicted, and was predicted rightly.

    States are float64 sums (exact to 9e15): ``support``, ``right``, ``predicted`` of shape ``(K,)``, and ``confusion``
    ``(K, K)`` (true x predicted) for at most :data:`CONFUSION_CLASSES` classes.

    Counting is a ``scatter_add`` with a weight of 0 for targets outside ``[0, K)``: unlike ``bincount`` and boolean
    indexing it never waits for the device.

    Args:
        classes: K, at least 2 (multi-label: the number of labels, at least 1).

    >>> counts = ClassCounts(3)
    >>> counts.count(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, -100]))
    >>> counts.support.tolist(), counts.right.tolist(), counts.predicted.tolist()
    ([1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0])
    """

    full_state_update = False
    support: Tensor
    right: Tensor
    predicted: Tensor
    confusion: Tensor

    def __init__(self, classes: int, device: torch.device | None = None) -> None:
        super().__init__(sync_on_compute=False)
        self.classes = classes
        for name in ("support", "right", "predicted"):
            self.add_state(name, torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")
        kept = classes if classes <= CONFUSION_CLASSES else 0
        self.add_state("confusion", torch.zeros(kept, kept, dtype=torch.float64), dist_reduce_fx="sum")
        if device is not None:
            self.to(device)

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add class predictions and targets of equal shape (any shape, integer)."""
        self.count(predicted, target)

    def count(self, predicted: Tensor, target: Tensor) -> None:
        """The same without torchmetrics' bookkeeping a call."""
        k = self.classes
        truth, guess = target.reshape(-1).long(), predicted.reshape(-1).long()
        valid = ((truth >= 0) & (truth < k) & (guess >= 0) & (guess < k)).double()
        truth, guess = truth.clamp(0, k - 1), guess.clamp(0, k - 1)
        self.support.scatter_add_(0, truth, valid)
        self.predicted.scatter_add_(0, guess, valid)
        self.right.scatter_add_(0, truth, valid * (truth == guess))
        if self.confusion.numel():
            self.confusion.view(-1).scatter_add_(0, truth * k + guess, valid)

    def count_seen(self, seen: Observation) -> None:
        """The same for class scores of K classes, from what others worked out of them; without the confusion.

        What is counted of training batches travels without who was taken for whom.
        """
        index, valid = seen.labels.reshape(-1), seen.valid.reshape(-1).double()
        self.support.scatter_add_(0, index, valid)
        self.right.scatter_add_(0, index, seen.right.reshape(-1).double())

    def count_labels(self, predicted: Tensor, target: Tensor) -> None:
        """Add multi-label predictions and targets, both ``(B, K)`` of 0 and 1; a label counts as a class."""
        truth, guess = target.double(), predicted.double()
        self.support += truth.sum(0)
        self.predicted += guess.sum(0)
        self.right += (truth * guess).sum(0)

    def compute(self) -> Tensor:
        """Return the error rate of each class ``(K,)``, NaN for a class without samples."""
        return 1 - self.right / torch.where(self.support > 0, self.support, torch.full_like(self.support, float("nan")))


def number_of_classes(seen: Observation) -> int | None:
    """Return K of an observation, or None where classes can't be told from it.

    Predicted classes alone don't say how many there are; then None.
    """
    target, logits = seen.target, seen.logits
    if target is None or logits is None:
        return None
    if not target.is_floating_point() and logits.ndim == target.ndim + 1:
        return int(logits.shape[1])
    if logits.shape == target.shape and logits.ndim == 2:
        return int(logits.shape[1]) if logits.shape[1] > 1 else 2
    if logits.ndim == 1 and logits.shape == target.shape:
        return 2
    return None


def count_batch(counts: ClassCounts, seen: Observation) -> None:
    """Add one observation: multi-class, multi-label (float or integer ``(B, K)``) or binary (one score a sample)."""
    target, logits = cast(Tensor, seen.target), cast(Tensor, seen.logits)
    if seen.predicted is not None:
        counts.count(seen.predicted, target)
    elif logits.ndim == 2 and logits.shape[1] > 1:
        counts.count_labels(logits > 0, target > 0.5)
    else:
        counts.count(logits.reshape(-1) > 0, target.reshape(-1) > 0.5)
