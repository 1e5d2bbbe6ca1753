"""Statistics of a batch's inputs and labels. Pure kernels: tensors in, tensors out, no sync.

Shapes: B samples, E elements a sample, F features (columns of a table, channels of an image), K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_diag.probes.constants import constant
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
    finite = values.abs() < torch.inf  # ``isfinite`` is four kernels
    zero, most, least = (constant(x, values.device, values.dtype) for x in (0.0, torch.inf, -torch.inf))
    given = torch.where(finite, values, zero)
    low = torch.where(finite, values, most).amin(0)
    high = torch.where(finite, values, least).amax(0)
    return torch.stack([finite.sum(0, dtype=values.dtype), given.sum(0), given.square().sum(0), low, high])


def add_sums(old: Tensor | None, new: Tensor) -> Tensor:
    """Join two :func:`feature_sums`."""
    if old is None or old.shape != new.shape:
        return new
    joined = old + new
    torch.minimum(old[3], new[3], out=joined[3])
    torch.maximum(old[4], new[4], out=joined[4])
    return joined


def class_sums(inputs: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return count, sum and sum of squares of each feature a class, float64 ``(3, K, F)``; labels outside are left out.

    Args:
        inputs: one row a sample, ``(B, F)``.
        labels: ``(B,)`` integers.
        classes: K.
    """
    return sums_at(parts_of(finite_doubles(inputs)), slots(labels, classes), classes)


def slots(labels: Tensor, classes: int) -> Tensor:
    """Return the labels ``(B,)`` as int64 indices; those out of range get the place behind the last class."""
    index = labels.long()
    known = index.clamp(0, classes - 1)
    return torch.where(known == index, known, constant(classes, labels.device, torch.int64))


def finite_doubles(inputs: Tensor) -> Tensor:
    """Return inputs in float64, 0 where they aren't finite."""
    return torch.nan_to_num(wide(inputs.detach()), nan=0.0, posinf=0.0, neginf=0.0)


def parts_of(x: Tensor) -> Tensor:
    """Return what is added up of inputs ``(B, F)``: 1, themselves and their squares, ``(3, B, F)``."""
    return torch.stack([constant(1.0, x.device, x.dtype).expand_as(x), x, x.square()])


def sums_at(parts: Tensor, index: Tensor, classes: int) -> Tensor:
    """Return the sums of :func:`parts_of` by class ``(3, K, F)``, given the samples' :func:`slots`."""
    sums = parts.new_zeros(3, classes + 1, parts.shape[2])
    return sums.index_add_(1, index, parts)[:, :classes]


def flat_features(inputs: Tensor) -> Tensor | None:
    """Return floating-point inputs as one row a sample, ``(B, F)``, F at most 256, evenly strided; else None."""
    if not inputs.is_floating_point() or inputs.ndim < 2:
        return None
    flat = inputs.detach().reshape(inputs.shape[0], -1)
    return flat[:, :: -(-flat.shape[1] // FEATURES)]


def label_counts(labels: Tensor, classes: int) -> Tensor:
    """Return how many of a batch's labels ``(B,)`` are of each class, float64 ``(K,)``."""
    index = slots(labels, classes)
    one = constant(1.0, labels.device, torch.float32 if labels.device.type == "mps" else torch.float64)
    return one.new_zeros(classes + 1).scatter_add_(0, index, one.expand_as(index))[:classes]


def pairs_alike(counts: Tensor) -> Tensor:
    """Return the share of pairs of samples that share a label, given how many have each, ``(..., K)``."""
    pairs = torch.stack([counts * (counts - 1), counts], -2).sum(-1)
    alike, n = pairs.unbind(-1)
    return alike / (n * (n - 1)).clamp_min(1)


def margins(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the given label's logit stands above the best other one, and that other label, both ``(B,)``.

    NaN for labels out of range.

    Within +- :data:`SURE`: beyond it a softmax is as sure as it gets, and a few steps of a loss spike would outweigh
    all others in a sample's mean.

    Source: Pleiss et al., Identifying mislabeled data using the area under the margin ranking, 2020 (arXiv:2001.10528).
    """
    scores = logits.detach().float()
    labels = target.long()
    known = labels.clamp(0, scores.shape[1] - 1)
    index, nan = known.unsqueeze(1), constant(torch.nan, scores.device)
    own = scores.gather(1, index)
    other, which = scores.scatter(1, index, -torch.inf).max(1)
    valid = known == labels
    margin = (own[:, 0] - other).clamp_(-SURE, SURE)
    return torch.where(valid, margin, nan), torch.where(valid, which, nan)
