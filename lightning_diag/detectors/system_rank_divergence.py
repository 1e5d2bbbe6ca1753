"""``system/rank-divergence``: processes that should hold the same model don't."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._ranks import Array, by_rank, name_of, odd_ones, others
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming import Window

EQUAL = 1e-5  # relative: gradients that were reduced together have the same norm but for the order of its sum
SPREAD = 1.4826 * 1.2533  # from a median absolute deviation to the standard error of a median, but for 1 / sqrt(n)


class SystemRankDivergence(Detector):
    """A process whose weights, reduced gradient or loss departs from the others'.

    Catches:
        Weights changed on one process only (a callback or `if rank == 0` that writes to them, a parameter left out of
        the reduction, a broken card), a loss that is not finite on one process, data that is harder on one.

    Formula:
        *weights*: hash, norm and projection of a strided sample must be the same bits on all processes that hold the
        whole parameter. *gradient*: norms after the reduction differ by more than 1e-5. *loss*: median over ``window``
        sampled steps of ``log(loss_r / median of the others)`` beyond ``log(ratio)`` and beyond ``z`` robust standard
        errors; or not finite where another's is.

    Reads:
        ``rank/weights`` every 8th sampled step, ``rank/grad_norm`` and ``rank/loss`` at sampled steps.

    Args:
        ratio: how many times a loss may be that of the others; higher = quieter. Default 1.5.
        z: robust standard errors it must be away; higher = quieter. Default 5.
        window: sampled steps the loss is compared over; higher = later. Default 50.

    Fires when:
        critical when weights or gradients differ; a warning for them under manual optimization (processes may be meant
        to train apart), and for a loss that is not finite; info for a loss that departs (data may be meant to differ).

    False alarms:
        Processes that are meant to hold different models under automatic optimization. Averaging strategies are known.

    Cost:
        The probe hashes 256 elements a parameter every 8th sampled step; here a comparison of R rows.

    Examples:
        >>> rule = SystemRankDivergence()
        >>> for step in range(1, 100, 8):
        ...     weights = np.array([[step, 7.0, 9.0, 3.0, 0.5]] * 4)
        ...     weights[2, 1] += step > 50
        ...     found = rule.update(Reading(step, 0, {"rank/weights": weights}))
        ...     if found:
        ...         print(step, found.severity, found.where)
        ...         break
        57 critical ('rank 2',)

    References:
        NVIDIA Megatron-LM, check of parameter hashes across data-parallel replicas; Dixit et al., Silent data
        corruptions at scale, 2021 (arXiv:2102.11245).
    """

    rule: ClassVar[str] = "system/rank-divergence"
    code: ClassVar[str] = "Y003"
    reads: ClassVar[tuple[str, ...]] = ("rank/weights", "rank/grad_norm", "rank/loss")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Processes disagree"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 50

    def __init__(self, ratio: float = 1.5, z: float = 5.0, window: int = 50) -> None:
        self.ratio = number("ratio", ratio, 1.01)
        self.z = number("z", z, 1)
        self.window = whole("window", window, 10)
        super().__init__()

    def _reset(self) -> None:
        self._losses = Window(self.window)
        self._differ: list[int] = []  # processes whose weights differed when they were compared last
        self._size = 0.0
        self._since = 0

    def update(self, reading: Reading) -> Finding | None:
        """Compare what the processes sent; the gravest difference is told."""
        rows = {name: by_rank(reading, name) for name in self.reads}
        if all(value is None for value in rows.values()):
            raise NotMeasurable("the processes sent nothing to compare")
        weights, gradient, loss = (rows[name] for name in self.reads)
        found = self._weights(reading, weights)
        if found is None and gradient is not None and "rank/weights" not in reading.facts.unmeasured:
            found = self._gradient(reading, gradient)
        if loss is not None:
            departs = self._loss(reading, loss)
            found = found or departs
        return found

    def _weights(self, reading: Reading, rows: Array | None) -> Finding | None:
        if rows is not None and rows.ndim == 2:
            turns = rows[:, 0]
            if np.nanmin(turns) == np.nanmax(turns):  # else they took other elements
                reference, differ = odd_ones(rows[:, 1:])
                self._since = (self._since or reading.step) if differ else 0
                self._differ = differ
                norm = rows[reference, 3]
                self._size = max((abs(rows[r, 3] - norm) / norm for r in differ), default=0.0) if norm > 0 else 0.0
        if not self._differ:
            return None
        return self._apart(
            reading,
            self._differ,
            "weights",
            "the same bits",
            f"relative difference of their norm {self._size:.2g}",
            self._size,
        )

    def _gradient(self, reading: Reading, norms: Array) -> Finding | None:
        there = norms[np.isfinite(norms)]
        if len(there) < 2:
            return None
        apart = np.abs(norms - np.median(there)) / max(float(np.median(there)), 1e-30)
        if len(there) == 2:
            apart = np.abs(norms - there[0]) / max(abs(float(there[0])), 1e-30)
        differ = [int(r) for r in np.flatnonzero(apart > EQUAL)]
        if not differ:
            return None
        size = float(np.nanmax(apart))
        return self._apart(
            reading, differ, "gradients after the reduction", "the same norm", f"off by {100 * size:.2g} %", size
        )

    def _apart(
        self, reading: Reading, ranks: list[int], what: str, expected: str, difference: str, size: float
    ) -> Finding:
        names = [name_of(reading, r) for r in ranks]
        automatic = reading.facts.automatic_optimization
        return self.found(
            reading,
            Severity.CRITICAL if automatic else Severity.WARNING,
            f"The {what} of {', '.join(names[:4])} differ from those of the other processes, which hold {expected} "
            f"(limit 0): {difference}.",
            where=names,
            evidence={"value": size, "limit": 0.0, "ranks": len(ranks)},
            advice=(
                "look for code that writes to weights or steps an optimizer on one process only (`if rank == 0`, "
                "`is_global_zero`), and for parameters that are left out of DDP",
                "save the checkpoint of each process at one step and compare them: one parameter points to the code, "
                "all of them to a step that one process made alone",
                "run the same step twice on this machine alone: if results differ, suspect the card",
            ),
            step=self._since or None,
        )

    def _loss(self, reading: Reading, losses: Array) -> Finding | None:
        bad = ~np.isfinite(losses)
        if bad.any():
            return None if bad.all() else self._not_finite(reading, losses, np.flatnonzero(bad))
        if (losses <= 0).any():
            return None
        self._losses.push(reading.step, np.log(losses) - np.log(others(losses)))
        if not self._losses.full:
            return None
        rows = self._losses.array()
        usual = np.median(rows, axis=0)
        error = SPREAD * np.median(np.abs(rows - usual), axis=0) / math.sqrt(len(rows))
        apart = (np.abs(usual) > math.log(self.ratio)) & (np.abs(usual) > self.z * error)
        if not apart.any():
            return None
        rank = int(np.argmax(np.where(apart, usual if len(usual) == 2 else np.abs(usual), -np.inf)))
        ratio = math.exp(usual[rank])
        return self.found(
            reading,
            Severity.INFO,
            f"The loss of {name_of(reading, rank)} is {ratio:.2g} times that of the other processes over "
            f"{self.window} sampled steps (limit {self.ratio:g} or its inverse).",
            where=[name_of(reading, rank)],
            evidence={"value": ratio, "limit": self.ratio},
            advice=("look at what data this process loads: with a shuffled DistributedSampler all are alike",),
        )

    def _not_finite(self, reading: Reading, losses: Array, bad: NDArray[np.intp]) -> Finding:
        names = [name_of(reading, int(r)) for r in bad]
        return self.found(
            reading,
            Severity.WARNING,
            f"The loss of {', '.join(names[:4])} is not finite (limit: finite), those of the other processes are.",
            where=names,
            evidence={"value": len(names), "limit": 0},
            advice=("look at the batch this process had in this step: the model is the same on all of them",),
        )
