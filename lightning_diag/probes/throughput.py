"""Seconds a batch, seconds of waiting for it, and memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.memory import free_bytes, host_bytes

_NO_CLOCK = "this version of Lightning doesn't say when a batch is fetched"
_NO_PROC = "the memory of a process is only read on Linux"
_NO_DEVICE = "no CUDA device"


class ThroughputProbe(Probe):
    """Sums of a stopwatch since the sample before, and memory; nothing is read from the device but counts of bytes.

    The stopwatch (:class:`~lightning_diag.probes.clock.Clock`) is pressed around every fetch of a batch; what it
    added up is read at sampled steps.
    """

    signals = (
        "time/batch_s", "time/wait_s", "time/first_wait_s", "time/batches", "time/wait_frac", "time/idle_s",
        "time/elapsed_s", "time/validation_s", "time/checkpoint_s", "memory/host_bytes", "memory/free_bytes",
        "memory/device_bytes", "rank/wait_s", "rank/forward_s",
    )  # fmt: skip

    def attach(self, scene: Scene) -> dict[str, str]:
        self._clock = scene.clock
        self._many = scene.facts.world_size > 1
        self._cuda = scene.facts.device == "cuda"
        self._began: float | None = None
        self._forward_s: float | None = None
        reasons = dict.fromkeys(
            [s for s in self.signals if s.startswith("time/")] if not self._clock.running else [], _NO_CLOCK
        )
        if host_bytes() is None:
            reasons |= dict.fromkeys(("memory/host_bytes", "memory/free_bytes"), _NO_PROC)
        if not self._cuda:
            reasons |= {"memory/device_bytes": _NO_DEVICE}
        return reasons

    def batch_start(self, batch: Batch) -> None:
        self._began = self._clock.elapsed_s

    def loss(self, batch: Batch) -> None:
        if self._began is not None:
            self._forward_s = self._clock.elapsed_s - self._began
            self._began = None

    def collect(self) -> Values:
        values: Values = self._times() if self._clock.running else []
        host, free = host_bytes(), free_bytes()
        if host is not None:
            values.append(("memory/host_bytes", float(host)))
        if free is not None:
            values.append(("memory/free_bytes", float(free)))
        if self._cuda:
            values.append(("memory/device_bytes", float(torch.cuda.memory_allocated())))
        return values

    def validation_start(self) -> None:
        self._clock.validates()

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        self._clock.validated()
        return [("time/validation_s", self._clock.validation_s), ("time/elapsed_s", self._clock.elapsed_s)]

    def _times(self) -> Values:
        lap = self._clock.lap()
        if not lap.batches or lap.elapsed_s <= 0:
            return []
        later = max(1, lap.batches - lap.firsts)
        values: Values = [
            ("time/batch_s", lap.elapsed_s / lap.batches),
            ("time/wait_s", lap.wait_s / later),
            ("time/first_wait_s", lap.first_s),
            ("time/batches", float(lap.batches)),
            ("time/wait_frac", min(1.0, (lap.wait_s + lap.first_s) / lap.elapsed_s)),
            ("time/elapsed_s", self._clock.elapsed_s),
            ("time/validation_s", self._clock.validation_s),
            ("time/checkpoint_s", self._clock.checkpoint_s),
        ]
        idle = [] if self._clock.idle is None else [seconds for _, seconds in self._clock.idle.passed()]
        if idle:
            values.append(("time/idle_s", sum(idle) / len(idle)))
        if self._many:
            values.append(("rank/wait_s", lap.wait_s / later))
            if self._forward_s is not None and not self._cuda:
                values.append(("rank/forward_s", self._forward_s))
        self._forward_s = None
        return values
