"""How sharp attention is: entropy of its weights relative to uniform. Pure kernels: tensors in, tensors out, no sync.

Shapes: N samples, H heads, T queries, S keys, E model width, D head width. Only a few samples and queries are looked at
(:data:`SAMPLES`, :data:`QUERIES`), with all of their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lightning_diag.probes.constants import constant

SAMPLES = 2
QUERIES = 8
KEYS = 1024  # of longer sequences the first so many keys
MASKED = -1e4  # a logit at or below is a mask, not a score

Projection = tuple[Tensor, Tensor | None]  # weight and bias
COLUMNS = ("entropy", "sharpest", "logit")
_INF = float("inf")
_NAN = float("nan")


def attention_stats(logits: Tensor) -> Tensor:
    """Return entropy over uniform (median and minimum over heads) and the largest absolute logit, ``(..., 3)``.

    Args:
        logits: ``(..., N, H, T, S)`` before softmax, any number of layers in front; masked ones at or below -10,000. A
            query with fewer than two keys left says nothing; NaN where none says anything.
    """
    logits = logits.float()
    allowed = logits > MASKED
    nan, zero = constant(_NAN, logits.device), constant(0.0, logits.device)
    keys = allowed.sum(-1, dtype=torch.float32)
    log_p = torch.log_softmax(torch.where(allowed, logits, constant(MASKED, logits.device)), -1)
    entropy = torch.where(allowed, log_p.exp() * log_p, zero).sum(-1).neg()
    relative = torch.where(keys > 1, entropy / keys.clamp(min=2).log(), nan)
    heads = relative.transpose(-3, -2).flatten(-2).nanmean(-1)
    largest = torch.where(allowed, logits.abs(), zero).flatten(-4).amax(-1)
    sharpest = torch.where(torch.isnan(heads), constant(_INF, logits.device), heads).amin(-1)
    median = heads.nanmedian(-1).values
    return torch.stack([median, torch.where(torch.isinf(sharpest), nan, sharpest), largest], -1)


def few(tensor: Tensor, dim: int, count: int) -> Tensor:
    """Return a view of at most ``count`` evenly spaced entries along a dimension, the last one among them."""
    size = tensor.shape[dim]
    stride = -(-size // count)
    index = (slice(None),) * (dim % tensor.ndim) + (slice((size - 1) % stride, None, stride),)
    return tensor[index]


def scores(query: Tensor, key: Tensor, heads: int, scale: float | None, *, causal: bool) -> Tensor | None:
    """Return logits ``(N, H, T', S)`` of some queries from queries ``(N, T, H * D)`` and keys ``(N, S, G * D)``.

    With fewer key than query heads (``G`` divides ``H``) each group of query heads shares one. None where the sizes
    don't fit. ``scale`` defaults to ``1 / sqrt(D)``.
    """
    if query.shape[-1] % heads:
        return None
    width = query.shape[-1] // heads
    if key.shape[-1] % width or heads % max(1, key.shape[-1] // width):
        return None
    groups = key.shape[-1] // width
    at = few(torch.arange(query.shape[1], device=query.device), 0, QUERIES)
    q = few(query, 1, QUERIES).float().unflatten(-1, (heads, width)).transpose(1, 2)
    k = key.float().unflatten(-1, (groups, width)).transpose(1, 2).repeat_interleave(heads // groups, 1)
    logits: Tensor = q @ k.transpose(-1, -2) * (width**-0.5 if scale is None else scale)
    if causal and query.shape[1] >= key.shape[1]:
        return logits.masked_fill(torch.arange(k.shape[2], device=q.device) > at[:, None], float("-inf"))
    return logits


@torch.no_grad()
def written_logits(module: nn.Module, made: Sequence[Tensor], heads: int) -> Tensor | None:
    """Return logits ``(N, H, T', S)`` of an attention written by hand from what its layers made.

    Args:
        module: the attention; its ``scale`` (or ``scaling``) and ``is_causal`` (or ``causal``) are heeded.
        made: queries and keys ``(N, T, H * D)``, or one tensor ``(N, T, 3 * H * D)`` of queries, keys, values.
        heads: number of heads.

    What the module does to queries and keys afterwards isn't known: rotary embeddings, relative positions and masks
    other than a causal one are left out, so this is how sharp attention is before them.
    """
    if len(made) == 1:
        if made[0].shape[-1] % 3:
            return None
        query, key, _ = made[0].chunk(3, -1)
    else:
        query, key = made
    scale = next((s for a in ("scale", "scaling") if isinstance(s := getattr(module, a, None), float)), None)
    causal = any(getattr(module, a, False) is True for a in ("is_causal", "causal"))
    causal = causal or "causal" in type(module).__name__.lower()
    return scores(query, key, heads, scale, causal=causal)


@torch.no_grad()
def multihead_logits(module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return logits ``(N, H, T', S)`` of a few samples and queries of one call, masks included.

    Only the few queries are projected again: ``(q W_q)(k W_k)' = (q W_q W_k') k'`` spares the projection of all keys.
    None for what isn't covered: nested tensors, keys added by ``bias_k``, weights that are sharded or made on the fly.
    """
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights")
    given: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
    query, key = given["query"].detach(), given["key"].detach()
    weights = _weights(module)
    if query.is_nested or module.bias_k is not None or weights is None:
        return None
    if query.ndim == 2:
        query, key = query.unsqueeze(0), key.unsqueeze(0)
    elif not module.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    q, k = few(few(query, 0, SAMPLES), 1, QUERIES), few(key, 0, SAMPLES)[:, :KEYS]
    with torch.autocast(q.device.type, enabled=False):
        logits = _projected_scores(q, k, weights, module.num_heads)
    logits = _masked(logits, given.get("attn_mask"), module.num_heads)
    padding = given.get("key_padding_mask")
    if padding is not None:
        padding = padding.unsqueeze(0) if padding.ndim == 1 else padding
        logits = _add(logits, few(padding, 0, SAMPLES)[:, None, None, :KEYS])
    return logits


def _projected_scores(query: Tensor, key: Tensor, weights: tuple[Projection, Projection], heads: int) -> Tensor:
    """Logits ``(N, H, T, S)`` from what enters the projections, ``(N, T, E)`` and ``(N, S, F)``."""
    (w_q, b_q), (w_k, b_k) = weights
    samples, queries = query.shape[:2]
    flat = query.to(w_q.dtype).reshape(samples * queries, -1)
    q = F.linear(flat, w_q, b_q).unflatten(-1, (heads, -1)).transpose(0, 1)
    folded = torch.bmm(q, w_k.unflatten(0, (heads, -1)))  # heads are the batch: no copy of the weight for each sample
    rows = folded.float().unflatten(1, (samples, queries)).transpose(0, 1).flatten(1, 2)
    scale, keys = q.shape[-1] ** -0.5, key.float().transpose(1, 2)
    if b_k is None:
        logits = torch.bmm(rows, keys) * scale
    else:
        of_bias = torch.bmm(q, b_k.unflatten(0, (heads, -1, 1))).float().unflatten(1, (samples, queries))
        logits = torch.baddbmm(of_bias.transpose(0, 1).flatten(1, 2), rows, keys, beta=scale, alpha=scale)
    made: Tensor = logits.unflatten(1, (heads, -1))
    return made


def _weights(module: nn.MultiheadAttention) -> tuple[Projection, Projection] | None:
    """Weight and bias of the query and of the key projection, or None where they aren't there as plain parameters."""
    width, parameters = module.embed_dim, {n: p.detach() for n, p in module.named_parameters(recurse=False)}
    if any(hasattr(p, "to_local") or not p.numel() for p in parameters.values()):
        return None
    bias = parameters.get("in_proj_bias")
    biases = (None, None) if bias is None else (bias[:width], bias[width : 2 * width])
    whole = parameters.get("in_proj_weight")
    if whole is not None:
        return (whole[:width], biases[0]), (whole[width : 2 * width], biases[1])
    if "q_proj_weight" in parameters and "k_proj_weight" in parameters:
        return (parameters["q_proj_weight"], biases[0]), (parameters["k_proj_weight"], biases[1])
    return None


def _masked(logits: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """Apply a mask ``(T, S)`` or ``(N * H, T, S)``: True or -inf = may not be seen."""
    if mask is None:
        return logits
    mask = mask.detach()
    if mask.ndim == 3:
        mask = few(mask.unflatten(0, (-1, heads)), 0, SAMPLES)
    return _add(logits, few(mask, -2, QUERIES)[..., :KEYS])


def _add(logits: Tensor, mask: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return logits.masked_fill(mask, float("-inf"))
    return logits + mask.float()
