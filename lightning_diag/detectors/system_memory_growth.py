"""``system/memory-growth``: memory grows with every step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

MOST = 128  # readings kept: when they are too many, every second one is dropped
GIB = 2.0**30
SHARE = 0.25  # of the rise that must lie in either half: less is one step up, or a cache that is full by now


class SystemMemoryGrowth(Detector):
    """The memory of the process, or of tensors on the device, grows without end.

    Catches:
        Losses or outputs kept in a list with their graph, a cache without a bound, a logger that keeps everything.

    Formula:
        the readings since the first epoch (of a single one: since a tenth of the plan) in three equal parts: the
        *lowest* of each part rises from part to part, by a quarter of the whole rise at least, and in all by more than
        ``growth``. A sawtooth (garbage collection, an allocator's cache) has a floor that doesn't rise; a cache that
        fills stops.

    Reads:
        ``memory/host_bytes memory/device_bytes memory/free_bytes``

    Args:
        growth: bytes the floor rises from which it is told; higher = later. Default 1 GiB (TraceML confirms a creep
            at +1 GiB).
        readings: readings needed; higher = later. Default 50 (TraceML).
        steps: steps they must span; higher = later. Default 400.

    Fires when:
        info; a warning on the host when at this rate the memory that is free now is used up before the plan's end. Not
        judged where the kernel doesn't say what a process holds.

    False alarms:
        A data set that is loaded into memory little by little for longer than the first epoch.

    Cost:
        A comparison of 128 numbers a sampled step; the probe reads two files of the kernel.

    Examples:
        >>> rule = SystemMemoryGrowth()
        >>> for step in range(1, 2001, 8):
        ...     held = 2e9 + 2e6 * step + 3e8 * (step % 64 > 32)
        ...     values = {"memory/host_bytes": held, "memory/free_bytes": 8e9}
        ...     try:
        ...         found = rule.update(Reading(step, step // 500, values))
        ...     except NotMeasurable:
        ...         continue
        ...     if found:
        ...         print(step, found.severity, found.message[:28])
        ...         break
        1321 info Host memory rose by 1.07 GiB

    References:
        TraceML, memory creep: recent > mid > baseline over at least 50 steps, confirmed at +1 GiB.
    """

    rule: ClassVar[str] = "system/memory-growth"
    code: ClassVar[str] = "Y002"
    reads: ClassVar[tuple[str, ...]] = ("memory/host_bytes", "memory/device_bytes")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Memory grows"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 50

    def __init__(self, growth: float = GIB, readings: int = 50, steps: int = 400) -> None:
        self.growth = number("growth", growth, 1)
        self.readings = whole("readings", readings, 12, MOST // 2)
        self.steps = whole("steps", steps, 12)
        super().__init__()

    def _reset(self) -> None:
        self._held: dict[str, list[list[float]]] = {}  # signal -> steps and bytes
        self._every: dict[str, int] = {}  # readings between two that are kept
        self._seen: dict[str, int] = {}

    def update(self, reading: Reading) -> Finding | None:
        """Add a reading; judge host and device."""
        if not self._settled(reading):
            raise NotMeasurable("the first epoch (of a single one, the first tenth of the plan) fills caches")
        found = [self._judge(reading, name) for name in self.reads if name in reading]
        grown = [finding for finding in found if finding is not None]
        if not grown and all(len(self._held.get(name, ())) < self.readings for name in self.reads):
            raise NotMeasurable(f"needs {self.readings} readings after the first epoch")
        return max(grown, key=lambda finding: finding.severity, default=None)

    @staticmethod
    def _settled(reading: Reading) -> bool:
        planned, epoch, progress = reading.facts.planned_steps, reading.facts.steps_per_epoch, reading.progress
        lone = planned is not None and (epoch is None or planned <= epoch)
        return reading.epoch > 0 or (lone and progress is not None and progress > 0.1)

    def _judge(self, reading: Reading, name: str) -> Finding | None:
        held = reading.scalar(name)
        if held is None or not np.isfinite(held):
            return None
        self._keep(name, reading.step, held)
        rows = np.array(self._held[name])
        if len(rows) < self.readings or rows[-1, 0] - rows[0, 0] < self.steps:
            return None
        floors = [part[part[:, 1].argmin()] for part in np.array_split(rows, 3)]
        (start, first), (_, middle), (end, last) = ((float(step), float(low)) for step, low in floors)
        rise = last - first
        early, late = middle - first, last - middle
        if rise <= self.growth or early < SHARE * rise or late < SHARE * rise:
            return None
        return self._finding(reading, name, rise, rise / (end - start))

    def _keep(self, name: str, step: int, held: float) -> None:
        rows, seen = self._held.setdefault(name, []), self._seen.get(name, 0)
        self._seen[name] = seen + 1
        if seen % self._every.setdefault(name, 1) == 0:
            rows.append([float(step), held])
        if len(rows) > MOST:
            self._held[name] = rows[::2]
            self._every[name] *= 2

    def _finding(self, reading: Reading, name: str, rise: float, rate: float) -> Finding:
        """``rate`` in bytes a step."""
        host = name == "memory/host_bytes"
        free, planned = reading.scalar("memory/free_bytes"), reading.facts.planned_steps
        lost = host and free is not None and planned is not None and rate * (planned - reading.step) > free
        left = f", {free / GIB:.3g} GiB free" if host and free is not None else ""
        runs_out = f"; it runs out about step {reading.step + free / rate:,.0f} of {planned:,}" if lost and free else ""
        return self.found(
            reading,
            Severity.WARNING if lost else Severity.INFO,
            f"{'Host' if host else 'Device'} memory rose by {rise / GIB:.3g} GiB since the first epoch (limit "
            f"{self.growth / GIB:.3g} GiB) and has not stopped: {rate / 2**20:.3g} MiB a step{left}{runs_out}.",
            where=["host" if host else "device"],
            evidence={
                "value": rise,
                "limit": self.growth,
                "bytes_a_step": rate,
                **({"free_bytes": free} if free else {}),
            },
            advice=(
                "look for a list or dict in the module that gets a loss or an output every step: append "
                "`loss.detach()`, or a number, and empty it at the end of the epoch",
                "train 200 steps without loggers and other callbacks: if the growth stops, add them back one by one",
            )
            if not host
            else (
                "look for a list or dict in the module or a callback that grows every step, and empty it at the end of "
                "the epoch",
                "train 200 steps with num_workers=0: if the growth stops, the data set's workers keep what they read",
                "take two `tracemalloc` snapshots 200 steps apart: the lines at the top of their difference hold it",
            ),
        )
