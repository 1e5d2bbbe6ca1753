"""Statistics of activations from a strided sample. Pure kernels: tensors in, tensors out, no sync, no random numbers.

Shapes: N entries measured together, B samples, P positions (time, height x width), U units, K columns.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_diag.probes.activation_curves import Curve
from lightning_diag.probes.constants import constant, made_once

ELEMENTS = 8192  # elements sampled of one output
UNITS = 256  # of so many units, always the same ones; a share of them has a standard error of at most 3 %
SAMPLES = 16  # and of at least so many samples, if there are; the rest of the budget goes to positions first
DEAD_ROWS = 1000  # rows without a sign of life after which a unit is dead ...
DEAD_BATCHES = 20  # ... and batches: one odd batch says nothing
TURNS = (0.7548776662, 0.5698402910)  # fractions of their multiples fill the unit square evenly (Roberts' R2 sequence)
RATE = 0.1  # weight of the newest batch in a unit's saturated rate
ALWAYS = 0.95  # a unit is saturated when more than this share of its rows is

COLUMNS = ("dead", "saturated", "saturated_units", "mean", "std", "nonfinite", "variation")
_WORST = (1.0, 1.0, 1.0, 0.0, 0.0, 1.0, -1.0)  # over several layers that share a module: the largest, mean or smallest
_INF = float("inf")
_TINY = 1.1754943508222875e-38  # smallest float32 that keeps all its digits
_NAN = float("nan")


class Memory(NamedTuple):
    """What is remembered of N entries from one sampled batch to the next.

    Attributes:
        units: ``(N, 3, U)``: rows and batches since the unit was last active, its saturated rate.
        entry: ``(N, 5)``: rows and batches seen, lowest and highest value, share of exact zeros.
    """

    units: Tensor
    entry: Tensor

    @classmethod
    def fresh(cls, units: int, device: torch.device) -> Memory:
        """Return the memory of one entry that has seen nothing."""
        zeros = torch.zeros(1, 3 * units + 5, device=device, dtype=torch.float32)  # whatever the default type is
        return cls(zeros[:, : 3 * units].reshape(1, 3, units), zeros[:, 3 * units :])

    def on(self, device: torch.device) -> Memory:
        """Return it on a device; itself where it is there."""
        return self if self.units.device == device else Memory(self.units.to(device), self.entry.to(device))


def sample(tensor: Tensor, dim: int, turn: int = 0, into: Tensor | None = None) -> Tensor:
    """Return a float32 copy ``(B, P, U)`` of at most 8,192 elements, strided through samples, positions and units.

    Args:
        tensor: any output; dimension 0 counts samples (a tensor of one dimension is one sample).
        dim: dimension that counts units.
        turn: moves the first sample and position along, so that in time all are seen; the units stay the same.
        into: memory to take, where the sample has its shape.
    """
    x = tensor.detach()
    if x.ndim == 2 and dim % 2 == 1 and x.shape[1] <= UNITS and x.numel() <= ELEMENTS:  # all of it
        return _copy(x.unsqueeze(1), into)
    if x.ndim == 1:
        x, dim = x.unsqueeze(0), 1
    x = x.movedim(dim, -1)
    x = x[..., :: -(-x.shape[-1] // UNITS)]
    rows = max(1, ELEMENTS // max(1, x.shape[-1]))
    positions = prod(x.shape[1:-1])
    x = _every(x, 0, min(rows, max(SAMPLES, rows // max(1, positions))), TURNS[0] * turn)
    x = x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)
    x = _every(x, 1, max(1, rows // max(1, x.shape[0])), TURNS[1] * turn)
    return _copy(x, into)


def measure(
    output: Tensor, given: Tensor, memory: Memory, curve: Curve, scratch: Tensor | None = None,
    finite: Callable[[Tensor], bool | None] | None = None,
) -> tuple[Tensor, Memory]:  # fmt: skip
    """Return statistics ``(N, K)`` in the order of :data:`COLUMNS`, and the memory for the next batch.

    Args:
        output: sampled outputs ``(N, B, P, U)``.
        given: what the curve's limits are on, same shape: the outputs, or the inputs.
        memory: what was remembered of the batches before.
        curve: flat regions; what it doesn't have is NaN in the result.
        scratch: memory as large as the outputs. On a CPU memory that is new costs more than what is done with it.
        finite: says whether numbers are finite, where that can be known without waiting.
    """
    rows = output.shape[1] * output.shape[2]
    scratch = torch.empty_like(output) if scratch is None else scratch
    off, ends = _off(given, curve, scratch), _ends(given, curve, scratch)
    entry = _remember(output, memory.entry, rows, off if curve.guess else None)
    nan = constant(_NAN, output.device).expand(len(output))
    units, dead, flat, stuck = memory.units, nan, nan, nan
    if off is not None or ends is not None:
        units = _age(off, ends, memory, rows)
    if off is not None:
        silent = _ripe(units[:, :2]).mean(1, dtype=torch.float32)
        dead = torch.where(_ripe(entry[:, :2]), silent, nan)
        if curve.off_below is not None:
            flat = _share(off, output)
    if ends is not None:
        flat = _share(ends, output)
        stuck = (units[:, 2] > ALWAYS).mean(1, dtype=torch.float32)
    if curve.guess:
        like_relu, like_tanh = _guess(entry)
        dead = torch.where(like_relu, dead, nan)
        flat, stuck = torch.where(like_tanh, flat, nan), torch.where(like_tanh, stuck, nan)
    mean, std, variation = moments(output, scratch)
    if finite is not None and finite(std):  # then every value is: counting the others would read all of them again
        bad = constant(0.0, output.device).expand(len(output))
    else:
        gaps = torch.sub(output, output, out=scratch)  # 0, or NaN where a value isn't finite
        bad = _share(gaps.ne_(gaps), output)
    return torch.stack([dead, flat, stuck, mean, std, bad, variation], dim=1), Memory(units, entry)


def moments(output: Tensor, scratch: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, standard deviation and variation between samples of outputs ``(N, B, P, U)``, each ``(N,)``.

    The variation is the root mean square deviation of each unit and position from its own mean over the samples, over
    the root mean square of all values: 0 when every sample gives the same (also when all is 0), NaN for a single
    sample. The total variance is the one within samples plus that of their means, so that large means don't cancel.
    """
    centers = output.mean(1, keepdim=True)
    within = _root_mean_square(torch.sub(output, centers, out=scratch))
    mean = centers.mean((1, 2, 3))
    std = torch.hypot(within, _root_mean_square(centers - mean[:, None, None, None]))
    size = torch.hypot(mean, std).clamp_min_(_TINY)
    variation = within / size
    return mean, std, variation if output.shape[1] > 1 else torch.full_like(mean, _NAN)


def worst(stats: Tensor) -> Tensor:
    """Join the statistics ``(N, K)`` of N layers that share one module, ``(K,)``: the worst, NaNs left out."""
    if stats.shape[0] == 1:
        return stats[0]
    columns = []
    for column, sign in zip(stats.unbind(1), _WORST, strict=True):
        if sign == 0.0:
            columns.append(torch.nanmean(column))
            continue
        largest = torch.where(torch.isnan(column), -_INF, sign * column).amax()
        columns.append(torch.where(largest == -_INF, _NAN, sign * largest))
    return torch.stack(columns)


def _copy(x: Tensor, into: Tensor | None) -> Tensor:
    if into is not None and into.shape == x.shape and into.device == x.device:
        return into.copy_(x)
    return x.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _every(x: Tensor, dim: int, count: int, turn: float) -> Tensor:
    """At most ``count`` entries along a dimension, evenly strided, the first moving with the fraction of ``turn``."""
    size = x.shape[dim]
    if size <= count:
        return x
    stride = size // count
    span = (count - 1) * stride
    first = int(turn % 1 * (size - span))  # in time every entry is reached
    return x[(slice(None),) * dim + (slice(first, first + span + 1, stride),)]


def _count(compare: Callable[..., Tensor], x: Tensor, limit: float, scratch: Tensor) -> Tensor:
    """How often a comparison holds, ``(N, U)``; a NaN never does.

    In float32: on a CPU that is five times as fast to make, and twice as fast to add up, as booleans are.
    """
    return compare(x, limit, out=scratch).sum((1, 2))


def _off(given: Tensor, curve: Curve, scratch: Tensor) -> Tensor | None:
    """How often each unit is off; None where the curve has no such region."""
    if curve.off_below is not None:
        return _count(torch.le, given, curve.off_below, scratch)
    return None if curve.off_at is None else _count(torch.eq, given, curve.off_at, scratch)


def _ends(given: Tensor, curve: Curve, scratch: Tensor) -> Tensor | None:
    """How often each unit is saturated, at one end or the other; None where the curve has no ends."""
    low = None if curve.low is None else _count(torch.le, given, curve.low, scratch)
    high = None if curve.high is None else _count(torch.ge, given, curve.high, scratch)
    return low if high is None else high if low is None else low + high


def _age(off: Tensor | None, ends: Tensor | None, memory: Memory, rows: int) -> Tensor:
    """The units' memory ``(N, 3, U)`` one batch later."""
    silent, before = memory.units[:, :2], memory.units[:, 2]
    if off is not None:
        silent = (silent + _one_more(rows, off.device)[:2, None]) * (off == rows)[:, None]
    if ends is None:
        return torch.cat([silent, memory.units[:, 2:]], dim=1)
    rate = ends / rows
    first = memory.entry[:, 1, None] == 0
    rate = torch.where(first, rate, torch.lerp(before, rate, RATE))
    return torch.cat([silent, rate[:, None]], dim=1)


def _ripe(seen: Tensor) -> Tensor:
    """Whether so many rows and batches ``(N, 2, ...)`` were seen that a unit counts as dead, ``(N, ...)``."""
    limits = _dead_limits(seen.device)
    return (seen >= (limits if seen.ndim == 2 else limits[:, None])).all(1)


@made_once
def _dead_limits(device: torch.device) -> Tensor:
    return torch.stack([constant(DEAD_ROWS, device), constant(DEAD_BATCHES, device)])


@made_once
def _one_more(rows: int, device: torch.device) -> Tensor:
    """What one more batch of so many rows adds to an entry's memory, ``(5,)``; made without a copy from the host."""
    more = torch.zeros(5, device=device, dtype=torch.float32)
    more[0].fill_(rows)
    more[1].fill_(1)
    return more


def _root_mean_square(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3))
    return norm.div_(sqrt(x[0].numel()))


def _share(counts: Tensor, output: Tensor) -> Tensor:
    return counts.flatten(1).sum(1) / output[0].numel()


def _remember(output: Tensor, entry: Tensor, rows: int, zeros: Tensor | None) -> Tensor:
    """The entries' memory ``(N, 5)`` one batch later; lowest, highest and zeros only with the units' zeros."""
    made = entry + _one_more(rows, entry.device)
    if zeros is not None:
        flat = output.flatten(1)  # aminmax is 20 times slower on a CPU
        low, high, most = made[:, 2], made[:, 3], made[:, 4]
        torch.fmin(low, flat.amin(1), out=low)
        torch.fmax(high, flat.amax(1), out=high)
        torch.maximum(most, _share(zeros, output), out=most)
    return made


def _guess(entry: Tensor) -> tuple[Tensor, Tensor]:
    """Whether values ``(N,)`` look as if a ReLU, or a tanh, had made them."""
    low, high, zeros = entry[:, 2], entry[:, 3], entry[:, 4]
    like_relu = (low >= 0) & (zeros > 0)
    return like_relu, (low < 0) & (low >= -1) & (high <= 1)
