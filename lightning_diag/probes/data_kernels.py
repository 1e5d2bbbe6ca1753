"""Statistics of a batch's inputs and labels. Pure kernels: tensors in, tensors out, no sync.

Shapes: B samples, E elements a sample, F features (columns of a table, channels of an image), K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_diag.probes.domain_sums import wide

FEATURES = 256  # features whose statistics are kept, evenly strided
SURE = 10.0  # logits: a probability ratio of 22,000


def as_features(inputs: Tensor) -> Tensor | None:
    """Return floating-point inputs as ``(rows, F)``; None for whole numbers (tokens) and single values.

    F counts table columns, image channels (dimension 1 of 4 or 5), or the last dimension of a sequence.
    """
    x = inputs.detach()
    if not x.is_floating_point() or x.ndim < 2:
        return None
    x = x.movedim(1, -1) if x.ndim >= 4 else x
    x = x.reshape(-1, x.shape[-1])
    return x[:, :: -(-x.shape[1] // FEATURES)]


def feature_sums(features: Tensor) -> Tensor:
    """Return finite count, sum, sum of squares, minimum and maximum of each feature, float64 ``(5, F)``."""
    values = wide(features)
    finite = torch.isfinite(values)
    zero = torch.where(finite, values, 0.0)
    low = torch.where(finite, values, torch.inf).amin(0)
    high = torch.where(finite, values, -torch.inf).amax(0)
    return torch.stack([wide(finite).sum(0), zero.sum(0), zero.square().sum(0), low, high])


def add_sums(old: Tensor | None, new: Tensor) -> Tensor:
    """Join two :func:`feature_sums`."""
    if old is None or old.shape != new.shape:
        return new
    return torch.cat([old[:3] + new[:3], torch.minimum(old[3:4], new[3:4]), torch.maximum(old[4:], new[4:])])


def class_sums(inputs: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return count, sum and sum of squares of each feature a class, float64 ``(3, K, F)``; labels outside are left out.

    Args:
        inputs: one row a sample, ``(B, F)``.
        labels: ``(B,)`` integers.
        classes: K.
    """
    x = torch.nan_to_num(wide(inputs.detach()), nan=0.0, posinf=0.0, neginf=0.0)
    valid = wide((labels >= 0) & (labels < classes)).unsqueeze(1)
    index = labels.clamp(0, classes - 1).long()
    parts = torch.stack([valid.expand_as(x), x * valid, x.square() * valid])
    return torch.zeros(3, classes, x.shape[1], dtype=x.dtype, device=x.device).index_add_(1, index, parts)


def flat_features(inputs: Tensor) -> Tensor | None:
    """Return floating-point inputs as one row a sample, ``(B, F)``, F at most 256, evenly strided; else None."""
    if not inputs.is_floating_point() or inputs.ndim < 2:
        return None
    flat = inputs.detach().reshape(inputs.shape[0], -1)
    return flat[:, :: -(-flat.shape[1] // FEATURES)]


def same_label(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the share of pairs of a batch ``(B,)`` that share a label, and the batch's label counts ``(K,)``."""
    valid = wide((labels >= 0) & (labels < classes))
    counts = torch.zeros(classes, dtype=valid.dtype, device=labels.device)
    counts = counts.scatter_add(0, labels.clamp(0, classes - 1).long(), valid)
    n = counts.sum()
    pairs = (n * (n - 1)).clamp_min(1)
    return (counts * (counts - 1)).sum() / pairs, counts


def margins(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the given label's logit stands above the best other one, and that other label, both ``(B,)``.

    NaN for labels out of range.

    Within +- :data:`SURE`: beyond it a softmax is as sure as it gets, and a few steps of a loss spike would outweigh
    all others in a sample's mean.

    Source: Pleiss et al., Identifying mislabeled data using the area under the margin ranking, 2020 (arXiv:2001.10528).
    """
    scores = logits.detach().float()
    index = target.clamp(0, scores.shape[1] - 1).long().unsqueeze(1)
    own = scores.gather(1, index)
    other, which = scores.scatter(1, index, -torch.inf).max(1)
    valid = (target >= 0) & (target < scores.shape[1])
    margin = (own[:, 0] - other).clamp(-SURE, SURE)
    return torch.where(valid, margin, torch.nan), torch.where(valid, which.float(), torch.nan)
