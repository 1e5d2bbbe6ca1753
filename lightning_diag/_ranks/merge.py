"""What several processes measured of one step, put together by each signal's rule. Pure host code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.signals import SIGNALS, Signal

Array = NDArray[np.float64]
Parts = Mapping[int, Array]
BY_RANK = {
    "loss/train": "rank/loss",
    "grad/norm": "rank/grad_norm",
}  # merged signals of a sampled step that are kept process by process, too


@dataclass(frozen=True)
class Landed:
    """One packet on the host.

    Attributes:
        step: optimizer step measured, 1 = the first.
        epoch: from 0.
        batch_idx: index of the (last micro-)batch in its epoch.
        stage: ``train`` or ``validation``.
        values: signal -> float64 array of numbers that fit into float32.
        learned: fields of the run's facts that became known with it.
        sharded: whether parameters are spread over processes, so that norms are parts of a whole.
    """

    step: int
    epoch: int
    batch_idx: int
    stage: str
    values: Mapping[str, Array]
    learned: Mapping[str, Any] = field(default_factory=dict)
    sharded: bool = False


def merged(parts: Mapping[int, Landed], replicas: Sequence[int]) -> Landed:
    """Return one step of all processes that have something of it.

    A process that has no such signal doesn't count: a mean is that of the others, a sum lacks what isn't there. A norm
    of sharded parameters needs every process, and is left out otherwise; so are arrays of different shapes.

    Args:
        parts: rank -> what it measured.
        replicas: for each rank the part of the data it trains on; ranks that share one (tensor parallelism) count once
            in means and sums.
    """
    ranks = sorted(parts)
    first = parts[ranks[0]]
    values: dict[str, Array] = {}
    for name in dict.fromkeys(name for rank in ranks for name in parts[rank].values):
        there = {rank: parts[rank].values[name] for rank in ranks if name in parts[rank].values}
        if SIGNALS[name].merge == "rows":
            values[name] = np.concatenate([there[rank] for rank in sorted(there)])
            continue
        if len({value.shape for value in there.values()}) > 1:
            continue
        if SIGNALS[name].merge != "norm" or not first.sharded:
            values[name] = _ruled(SIGNALS[name], there, parts, replicas)
        elif len(there) == len(replicas):
            values[name] = np.asarray(np.sqrt(np.sum([part**2 for part in there.values()], axis=0)))
    for name, by_rank in BY_RANK.items():
        if name in values and len(first.values) > 1 and not (first.sharded and SIGNALS[name].merge == "norm"):
            scalars = {r: p.values[name] for r, p in parts.items() if name in p.values and not p.values[name].shape}
            if len(scalars) == len(replicas):
                values[by_rank] = _by_rank(scalars, len(replicas))
    _derive(values)
    rounded = {name: value.astype(np.float32).astype(np.float64) for name, value in values.items()}
    return Landed(
        first.step, first.epoch, first.batch_idx, first.stage, rounded, _learned(parts, len(replicas)), first.sharded
    )


def _ruled(row: Signal, there: Parts, parts: Mapping[int, Landed], replicas: Sequence[int]) -> Array:
    if row.merge == "ranks":
        return _by_rank(there, len(replicas))
    if row.merge == "max":
        return np.asarray(np.max(list(there.values()), axis=0))
    if row.merge in ("mean", "sum"):
        once = {replicas[rank]: rank for rank in sorted(there, reverse=True)}
        counted = {rank: there[rank] for rank in sorted(once.values())}
        if row.merge == "sum":
            return np.asarray(np.sum(list(counted.values()), axis=0))
        return _mean(counted, {rank: parts[rank].values.get(row.weight) for rank in counted})
    return next(iter(there.values()))


def _mean(there: Parts, weights: Mapping[int, Array | None]) -> Array:
    """Mean over processes; of an array over those that have a number there."""
    stacked = np.stack(list(there.values()))
    known = [weight for weight in weights.values() if weight is not None and not weight.shape]
    total = float(np.sum(known))
    if len(known) == len(stacked) and total > 0:
        empty = np.asarray(known) == 0  # a process without samples has no mean
        return np.asarray(np.average(stacked[~empty], axis=0, weights=np.asarray(known)[~empty]))
    if stacked.ndim == 1:
        return np.asarray(stacked.mean())
    count = (~np.isnan(stacked)).sum(axis=0)
    sums = np.nansum(stacked, axis=0)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def _by_rank(there: Parts, ranks: int) -> Array:
    shape = next(iter(there.values())).shape if there else ()
    table = np.full((ranks, *shape), np.nan)
    for rank, value in there.items():
        table[rank] = value
    return table


def _derive(values: dict[str, Array]) -> None:
    """What can be made only of the whole: ratios and comparisons of norms."""
    change, weight = values.get("update/parameter_norm"), values.get("weight/parameter_norm")
    if change is not None and weight is not None and "update/parameter_ratio" not in values:
        values["update/parameter_ratio"] = change / np.where(weight > 0, weight, np.nan)
    before, after = values.get("grad/norm"), values.get("grad/norm_after_clip")
    if before is not None and after is not None and "grad/clipped" not in values:
        values["grad/clipped"] = np.asarray(float(after < before * (1 - 1e-4)))


def _learned(parts: Mapping[int, Landed], ranks: int) -> dict[str, Any]:
    """What became known: the lowest rank's word counts; a reason says which process it is of."""
    known: dict[str, Any] = {}
    for rank in sorted(parts, reverse=True):
        learned = dict(parts[rank].learned)
        reasons = learned.pop("unmeasured", {})
        if "names" in learned:
            learned["names"] = {**known.get("names", {}), **learned["names"]}
        known.update(learned)
        for signal, reason in reasons.items():
            known.setdefault("unmeasured", {})[signal] = f"rank {rank}: {reason}" if ranks > 1 else reason
    return known
