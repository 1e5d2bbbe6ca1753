"""Whether domains pull the last layer in different directions, without a second backward.

The gradient of a mean cross-entropy with respect to the weights of the linear layer that makes the scores is known in
closed form from what the forward pass left: ``(softmax(z) - onehot(y))^T h / n``. A second backward per domain through
the whole model would double the cost of a step and keep its graph alive, so this is the only layer that is looked at.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_WEIGHTS = 1_048_576  # K times F, after thinning the columns
LEAST = 4  # samples of a domain in the batch


@torch.no_grad()
def head_gradients(logits: Tensor, target: Tensor, features: Tensor, member: Tensor) -> Tensor | None:
    """Return each domain's mean gradient of the last layer's weights, ``(D, K * F')``; NaN with fewer than 4 samples.

    Args:
        logits: ``(B, K)``.
        target: ``(B,)`` classes; others than 0..K-1 don't count.
        features: ``(B, F)``, what went into the layer; thinned to F' columns where ``K * F`` is large.
        member: ``(D, B)``, 1 where a sample is of a domain.
    """
    if logits.ndim != 2 or target.ndim != 1 or features.ndim != 2 or len(features) != len(logits):
        return None
    classes = logits.shape[1]
    valid = ((target >= 0) & (target < classes)).float()
    delta = logits.float().softmax(1)
    safe = target.clamp(0, classes - 1).long()[:, None]
    delta = delta.scatter_add(1, safe, torch.full_like(delta[:, :1], -1.0))
    stride = -(-classes * features.shape[1] // MAX_WEIGHTS)
    columns = features[:, ::stride].float()
    made = []
    for weight in member.float() * valid:
        count = weight.sum()
        gradient = (delta * weight[:, None]).T @ columns / count.clamp_min(1)
        made.append(torch.where(count >= LEAST, gradient, torch.full_like(gradient, float("nan"))).reshape(-1))
    return torch.stack(made)


def cosines(gradients: Tensor) -> Tensor:
    """Return the cosine of each pair of rows, ``(D, D)``; NaN where a row is."""
    unit = gradients / torch.linalg.vector_norm(gradients, dim=1, keepdim=True).clamp_min(1e-20)
    made: Tensor = unit @ unit.T
    return made
