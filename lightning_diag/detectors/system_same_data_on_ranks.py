"""``system/same-data-on-ranks``: processes train on the same samples."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import whole
from lightning_diag.detectors._ranks import Array, by_rank, name_of
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class SystemSameDataOnRanks(Detector):
    """Several processes load the same batches, so that all but one work for nothing.

    Catches:
        An IterableDataset that isn't split by rank, a sampler of one's own (or ``use_distributed_sampler=False``) with
        the same seed everywhere.

    Formula:
        hashes of the first 4 samples of a batch are equal on two processes that should train on different parts of the
        data, ``batches`` sampled batches in a row, while the batches themselves change. Two different samples have
        equal keys with a probability below ``2**-58``.

    Reads:
        ``rank/batch_hash`` at sampled steps.

    Args:
        batches: sampled batches in a row; higher = later. Default 10.

    Fires when:
        warning: the global batch is smaller than it says, and the time of the other processes is lost.

    False alarms:
        None known: inputs that are the same in every batch are not judged, and ranks that share their data by design
        (tensor parallelism) are known from the strategy.

    Cost:
        A comparison of R rows; the probe hashes 4 samples.

    Examples:
        >>> rule, rng = SystemSameDataOnRanks(), np.random.default_rng(0)
        >>> for step in range(1, 30):
        ...     hashes = np.tile(rng.integers(0, 2**24, 8), (2, 1)).astype(float)
        ...     try:
        ...         found = rule.update(Reading(step, 0, {"rank/batch_hash": hashes}))
        ...     except NotMeasurable:
        ...         continue
        ...     if found:
        ...         print(step, found.severity, found.where)
        ...         break
        11 warning ('rank 0', 'rank 1')

    References:
        PyTorch, ``torch.utils.data.IterableDataset``: each process gets the whole of it unless it is split by hand.
    """

    rule: ClassVar[str] = "system/same-data-on-ranks"
    code: ClassVar[str] = "Y004"
    reads: ClassVar[tuple[str, ...]] = ("rank/batch_hash",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Processes train on the same data"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 10

    def __init__(self, batches: int = 10) -> None:
        self.batches = whole("batches", batches, 2)
        super().__init__()

    def _reset(self) -> None:
        self._last: list[float] = []  # the first process's hashes
        self._row: list[int] = []  # for each process: batches in a row that another process had, too
        self._seen = 0

    def update(self, reading: Reading) -> Finding | None:
        """Compare the hashes of one step."""
        rows = by_rank(reading, "rank/batch_hash")
        if rows is None or rows.ndim != 2 or np.isnan(rows).all():
            raise NotMeasurable("the batches hold no tensors that can be hashed sample by sample")
        same = self._same(reading, rows)
        first = np.nan_to_num(rows[0], nan=-1.0).tolist()
        changed, self._last = first != self._last and bool(self._last), first
        if len(self._row) != len(same):
            self._row = [0] * len(same)
        if not changed:
            if not self._seen:
                raise NotMeasurable("the batches have not changed yet")
            return None
        self._seen += 1
        self._row = [n + 1 if hit else 0 for n, hit in zip(self._row, same, strict=True)]
        ranks = [r for r, n in enumerate(self._row) if n >= self.batches]
        if not ranks:
            return None
        names = [name_of(reading, r) for r in ranks]
        return self.found(
            reading,
            Severity.WARNING,
            f"{', '.join(names[:4])} have loaded the same samples for {min(self._row[r] for r in ranks)} batches "
            f"(limit {self.batches}): the time of all but one of them is lost.",
            where=names,
            evidence={"value": float(min(self._row[r] for r in ranks)), "limit": self.batches, "ranks": len(ranks)},
            advice=(
                "leave use_distributed_sampler=True, or give the loader a DistributedSampler; split an IterableDataset "
                "by rank (`trainer.global_rank`, `trainer.world_size`) in its __iter__",
                "print the first sample's id on every process: they must differ",
            ),
        )

    @staticmethod
    def _same(reading: Reading, rows: Array) -> list[bool]:
        """Whether another process that trains on another part of the data had the same samples."""
        parts = reading.facts.replicas if len(reading.facts.replicas) == len(rows) else tuple(range(len(rows)))
        keys = [None if np.isnan(row[0]) else np.nan_to_num(row, nan=-1.0).tobytes() for row in rows]
        owners: dict[bytes, set[int]] = {}
        for key, part in zip(keys, parts, strict=True):
            if key is not None:
                owners.setdefault(key, set()).add(part)
        return [key is not None and len(owners[key]) > 1 for key in keys]
