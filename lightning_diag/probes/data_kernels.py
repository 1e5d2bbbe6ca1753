"""Hashes of samples and statistics of a batch's inputs and labels. Pure kernels: tensors in, tensors out, no sync.

Shapes: B samples, E elements a sample, F features (columns of a table, channels of an image), K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ELEMENTS = 4096  # elements of a sample that are hashed one by one; the rest counts by its sum
FEATURES = 256  # features whose statistics are kept, evenly strided
HALF = 24  # bits of each half of a hash: a whole number that float32 holds exactly
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def hash_weights(device: torch.device) -> Tensor:
    """Return fixed odd 64-bit weights, shape ``(2, ELEMENTS + 2)``, the same on every machine and in every run."""
    generator = torch.Generator().manual_seed(0x5EED)
    low = torch.randint(0, 2**31, (2, ELEMENTS + 2, 2), generator=generator, dtype=torch.int64)
    return ((low[..., 0] << 32) ^ (low[..., 1] << 1) | 1).to(device)


def content_hash(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return a 48-bit hash of each sample's bits as two halves of 24 bits, float32 ``(B, 2)``.

    Multilinear hashing: ``sum(w_i * x_i) mod 2**64``, top bits kept, over the bit patterns of up to 4,096 strided
    elements and the sum of all of them. Two samples that differ in any sampled element collide with probability
    ``2**-48``; those that differ elsewhere do so only if they are rearrangements of each other there. Among n different
    samples expect ``n**2 / 2**49`` accidental pairs: 0.002 among a million, 0.2 among ten million.

    Args:
        tensors: what makes a sample, each ``(B, ...)``.
        weights: of :func:`hash_weights`.

    References:
        Lemire & Kaser, Strongly universal string hashing is fast, The Computer Journal 57, 2014.
    """
    halves = [_multilinear(tensor, weights) for tensor in tensors]
    mixed = halves[0]
    for more in halves[1:]:
        mixed = mixed * 0x9E3779B1 + more
    top: Tensor = (mixed >> (64 - HALF)) & (2**HALF - 1)
    return top.to(torch.float32)


def _multilinear(tensor: Tensor, weights: Tensor) -> Tensor:
    flat = tensor.detach().reshape(tensor.shape[0], -1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).flatten(1)
    bits = flat.contiguous()
    bits = bits.to(torch.uint8) if bits.dtype is torch.bool else bits.view(_BITS[bits.element_size()])
    stride = -(-bits.shape[1] // ELEMENTS)
    some = bits[:, ::stride].to(torch.int64)
    words = torch.cat([some, bits.sum(1, keepdim=True, dtype=torch.int64)], 1) if stride > 1 else some
    count = words.shape[1]
    return torch.stack([(words * w[:count]).sum(1) + w[-1] * flat.shape[1] for w in weights], 1)


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
    wide = features.double()
    finite = torch.isfinite(wide)
    zero = torch.where(finite, wide, 0.0)
    low = torch.where(finite, wide, torch.inf).amin(0)
    high = torch.where(finite, wide, -torch.inf).amax(0)
    return torch.stack([finite.double().sum(0), zero.sum(0), zero.square().sum(0), low, high])


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
    wide = torch.nan_to_num(inputs.detach().double(), nan=0.0, posinf=0.0, neginf=0.0)
    valid = ((labels >= 0) & (labels < classes)).double().unsqueeze(1)
    index = labels.clamp(0, classes - 1).long()
    parts = torch.stack([valid.expand_as(wide), wide * valid, wide.square() * valid])
    return torch.zeros(3, classes, wide.shape[1], dtype=wide.dtype, device=wide.device).index_add_(1, index, parts)


def flat_features(inputs: Tensor) -> Tensor | None:
    """Return floating-point inputs as one row a sample, ``(B, F)``, F at most 256, evenly strided; else None."""
    if not inputs.is_floating_point() or inputs.ndim < 2:
        return None
    flat = inputs.detach().reshape(inputs.shape[0], -1)
    return flat[:, :: -(-flat.shape[1] // FEATURES)]


def same_label(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the share of pairs of a batch ``(B,)`` that share a label, and the batch's label counts ``(K,)``."""
    valid = ((labels >= 0) & (labels < classes)).double()
    counts = torch.zeros(classes, dtype=torch.float64, device=labels.device)
    counts = counts.scatter_add(0, labels.clamp(0, classes - 1).long(), valid)
    n = counts.sum()
    pairs = (n * (n - 1)).clamp_min(1)
    return (counts * (counts - 1)).sum() / pairs, counts


def margins(logits: Tensor, target: Tensor) -> Tensor:
    """Return how far the given label's logit stands above the best other one, ``(B,)``; NaN for labels out of range.

    Source: Pleiss et al., Identifying mislabeled data using the area under the margin ranking, 2020 (arXiv:2001.10528).
    """
    scores = logits.detach().float()
    index = target.clamp(0, scores.shape[1] - 1).long().unsqueeze(1)
    own = scores.gather(1, index)
    other = scores.scatter(1, index, -torch.inf).amax(1, keepdim=True)
    valid = (target >= 0) & (target < scores.shape[1])
    return torch.where(valid, (own - other)[:, 0], torch.nan)


def shifts(inputs: Tensor, target: Tensor) -> Tensor:
    """Return the share of targets that are the input 0, 1 or 2 positions on, ``(3,)``, of tokens ``(B, T)``."""
    length = inputs.shape[1]
    same = [(target[:, : length - k] == inputs[:, k:]).float().mean() for k in range(3)]
    return torch.stack(same)
