"""Padding and likeness of a batch's sequences. Pure kernels: tensors in, tensors out, no sync.

Shapes: B samples, T positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_ROWS = 0.5  # share of samples that must end in two or more of the same token for it to be padding
STRAY = 0.1  # share of samples that do so by chance, up to which a batch is said to hold no padding


def run_at_end(same: Tensor) -> Tensor:
    """Return where ``same`` ``(B, T)`` holds without a break up to the last position."""
    return same.flip(1).long().cumprod(1).flip(1).bool()


def padding_of(tokens: Tensor, padding: int) -> Tensor:
    """Return where tokens ``(B, T)`` are the padding token, without a break up to the end or from the start on."""
    same = tokens == padding
    return run_at_end(same) | run_at_end(same.flip(1)).flip(1)


def padding_by_tail(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return where tokens ``(B, T)`` are padding, told from themselves, and whether that can be told, ``()``.

    A token is padding where at least half of the samples end (or begin) in two or more of it, none is made of it alone,
    and it stands nowhere else in the batch. There is none where no more samples than chance allows end or begin in a
    run. All else can't be told: a language's blanks, an end-of-text token within the text.
    """
    found = [_edge(tokens), _edge(tokens.flip(1))]
    right, told_right, runs_right = found[0]
    left, told_left, runs_left = found[1][0].flip(1), found[1][1], found[1][2]
    none = (runs_right <= STRAY) & (runs_left <= STRAY)
    padding = torch.where(told_right, right, left & told_left)
    return padding, told_right | told_left | none


def _edge(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the last positions: the run of the usual last token, whether it is padding, share of samples with any run."""
    last = tokens[:, -1]
    same = tokens == last.mode().values
    run = run_at_end(same)
    length = run.sum(1)
    elsewhere = (same & ~run).any() | (length == tokens.shape[1]).any()
    told = ((length >= 2).double().mean() >= LEAST_ROWS) & ~elsewhere
    return run, told, (tokens[:, -2] == last).double().mean()


def beyond_longest(real: Tensor) -> Tensor:
    """Return the share of positions at which no sample of ``real`` ``(B, T)`` holds anything."""
    return 1 - real.any(0).double().mean()


def alike(tokens: Tensor, real: Tensor) -> Tensor:
    """Return the share of samples equal to the one before them wherever both hold a token; two empty ones are equal.

    Args:
        tokens: ``(B, T)``, B at least 2.
        real: where a token is no padding, ``(B, T)``.
    """
    other, there = tokens.roll(1, 0), real.roll(1, 0)
    both = real & there
    overlap = both.any(1) | ~(real.any(1) | there.any(1))
    return (((tokens == other) | ~both).all(1) & overlap).double().mean()


def shifts(inputs: Tensor, target: Tensor) -> Tensor:
    """Return the share of targets ``(B, T)`` that are the input 0, 1 or 2 positions on, ``(3,)``.

    Negative targets don't count: a loss leaves them out.
    """
    length = inputs.shape[1]
    counted = target >= 0
    same = [
        ((target[:, : length - k] == inputs[:, k:]) & counted[:, : length - k]).sum()
        / counted[:, : length - k].sum().clamp_min(1)
        for k in range(3)
    ]
    return torch.stack(same)


def astray(inputs: Tensor, target: Tensor) -> Tensor:
    """Return of the targets ``(B, T)`` that aren't the next input how alike they are, 0 to 1, ``(3,)``.

    The share of the commonest target among them, of the commonest input in their place, and of the commonest position;
    1 where there is none. Random corruption is spread, a special token, a mask or a window's edge is not.
    """
    target, following = target[:, :-1], inputs[:, 1:]
    odd = (target != following) & (target >= 0)
    count = odd.sum().clamp_min(1)
    alone = -1 - torch.arange(odd.numel(), device=odd.device).view_as(odd)  # negative and different: no mode
    shares = []
    for tokens in (target, following):
        marked = torch.where(odd, tokens.long(), alone).flatten()
        shares.append((marked == marked.mode().values).sum() / count)
    shares.append(odd.sum(0).amax() / count)
    return torch.where(odd.any(), torch.stack(shares), 1.0)
