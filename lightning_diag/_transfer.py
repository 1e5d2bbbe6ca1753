"""The one door from device to host: reduce over ranks, copy, wait. Nothing else in the package reads a tensor's value.

On CPU a packet is read at once. On an accelerator packets are gathered (at most :data:`GATHER` steps), copied to pinned
memory in one asynchronous copy and read when the copy has landed; only :meth:`Transfer.finish` waits. Pattern: PyTorch,
"A guide on good usage of non_blocking and pin_memory()".
"""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag.packet import Packet
from lightning_diag.signals import SIGNALS

GATHER = 16  # steps whose losses wait for one copy on an accelerator
HostPacket = tuple[Packet, dict[str, NDArray[np.float64]]]


@dataclass
class _Flight:
    """Packets whose values are on their way to the host."""

    packets: list[Packet]
    host: Tensor
    event: torch.cuda.Event | None

    def landed(self) -> bool:
        return self.event is None or self.event.query()


class Transfer:
    """Takes packets, gives back host values in order of submission.

    Args:
        world_size: processes that submit the same packets in the same order; above 1 every flight is one all_reduce.
        group: process group for it; None = the default group.
    """

    def __init__(self, world_size: int = 1, group: torch.distributed.ProcessGroup | None = None) -> None:
        self.world_size = world_size
        self.group = group
        self._waiting: list[Packet] = []
        self._flying: deque[_Flight] = deque()

    def at_once(self, value: Tensor) -> float | None:
        """Return a scalar, rounded to float32, where that costs no waiting and no collective: on one CPU process.

        None elsewhere, and while packets are on their way (order would be lost).
        """
        if self.world_size > 1 or not value.is_cpu or self._waiting or self._flying:
            return None
        return value.item() if value.dtype is torch.float32 else value.to(torch.float32).item()

    def submit(self, packet: Packet, *, urgent: bool = True) -> None:
        """Send a packet on its way; one that is not ``urgent`` may wait for company on an accelerator."""
        self._waiting.append(packet)
        gather = packet.flat.is_cuda or self.world_size > 1
        if urgent or not gather or len(self._waiting) >= GATHER:
            self._depart()

    def landed(self) -> Iterator[HostPacket]:
        """Yield what has arrived, in order, without waiting."""
        while self._flying and self._flying[0].landed():
            yield from _read(self._flying.popleft())

    def finish(self, *, collective: bool = True) -> Iterator[HostPacket]:
        """Yield everything, waiting for the device; with ``collective=False`` (a rank failed) the rest is lost."""
        if self._waiting and (collective or self.world_size == 1):
            self._depart()
        self._waiting.clear()
        while self._flying:
            flight = self._flying.popleft()
            if flight.event is not None:
                flight.event.synchronize()
            yield from _read(flight)

    def _depart(self) -> None:
        packets, self._waiting = self._waiting, []
        flat = packets[0].flat if len(packets) == 1 else torch.cat([p.flat for p in packets])
        if self.world_size > 1:
            flat = self._merge(packets, flat)
        if not flat.is_cuda:
            self._flying.append(_Flight(packets, flat.cpu(), None))
            return
        host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
        host.copy_(flat, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._flying.append(_Flight(packets, host, event))

    def _merge(self, packets: list[Packet], flat: Tensor) -> Tensor:
        """Sum over ranks, after dividing what is to be averaged (or is equal on all ranks) by their number."""
        weights = [
            1.0 if SIGNALS[name].merge == "sum" else 1.0 / self.world_size
            for packet in packets
            for name, shape in packet.layout
            for _ in range(int(np.prod(shape, dtype=np.int64)))
        ]
        merged = flat * torch.tensor(weights, dtype=flat.dtype, device=flat.device)
        torch.distributed.all_reduce(merged, group=self.group)
        return merged


def _read(flight: _Flight) -> Iterator[HostPacket]:
    host = flight.host.numpy()
    start = 0
    for packet in flight.packets:
        end = start + packet.flat.numel()
        yield packet, packet.unpack(host[start:end])
        start = end


def is_finite_now(value: Tensor) -> bool | None:
    """Whether all of a *CPU* tensor is finite; None on an accelerator, where asking would wait for the device."""
    if not value.is_cpu:
        return None
    if value.ndim == 0:  # a loss at every step: a tenth of the time
        return math.isfinite(value.item())
    return bool(torch.isfinite(value).all())


def rounded(value: float) -> float:
    """Return a number rounded to float32, as everything that travels is: a record replays to the very same numbers."""
    return ctypes.c_float(value).value


def wait_for(value: Tensor) -> NDArray[np.float64]:
    """Return a tensor's values and wait for them: for events that happen once a run, never in the hot path."""
    return value.detach().to("cpu", torch.float64).numpy()
