"""The one door from device to host: copy, wait. Nothing else in the package reads a tensor's value.

On CPU a packet is read at once. On an accelerator packets are gathered (at most :data:`GATHER` steps), copied to pinned
memory in one asynchronous copy and read when the copy has landed; only :meth:`Transfer.finish` waits. Pattern: PyTorch,
"A guide on good usage of non_blocking and pin_memory()".
"""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag._ranks.exchange import Exchange
from lightning_diag._ranks.merge import Landed
from lightning_diag.packet import Packet

GATHER = 16  # steps whose losses wait for one copy on an accelerator


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
        exchange: where several processes merge what they measured; None = this one alone.
    """

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.exchange = exchange
        self._waiting: list[Packet] = []
        self._flying: deque[_Flight] = deque()

    def at_once(self, value: Tensor) -> float | None:
        """Return a scalar, rounded to float32, where that costs no waiting: on one CPU process.

        None elsewhere, and while packets are on their way (order would be lost).
        """
        if self.exchange is not None or not value.is_cpu or self._waiting or self._flying:
            return None
        return value.item() if value.dtype is torch.float32 else value.to(torch.float32).item()

    def submit(self, packet: Packet, *, urgent: bool = True) -> None:
        """Send a packet on its way; one that is not ``urgent`` may wait for company on an accelerator."""
        self._waiting.append(packet)
        gather = packet.flat.is_cuda or self.exchange is not None
        if urgent or not gather or len(self._waiting) >= GATHER:
            self._depart()

    def landed(self) -> Iterator[Landed]:
        """Yield what has arrived, of all processes, in order, without waiting."""
        while self._flying and self._flying[0].landed():
            yield from self._here(self._flying.popleft())
        if self.exchange is not None:
            yield from self.exchange.received()

    def finish(self, *, failed: bool = False) -> Iterator[Landed]:
        """Yield everything, waiting for the device, and a few seconds at most for other processes."""
        if self._waiting:
            self._depart()
        while self._flying:
            flight = self._flying.popleft()
            if flight.event is not None:
                flight.event.synchronize()
            yield from self._here(flight)
        if self.exchange is not None:
            yield from self.exchange.finish(failed=failed)

    def _here(self, flight: _Flight) -> Sequence[Landed]:
        """What has landed: for the reader, or for the other processes first."""
        parts = list(_read(flight))
        if self.exchange is None:
            return parts
        self.exchange.send(parts)
        return ()

    def _depart(self) -> None:
        packets, self._waiting = self._waiting, []
        flat = packets[0].flat if len(packets) == 1 else torch.cat([p.flat for p in packets])
        if not flat.is_cuda:
            self._flying.append(_Flight(packets, flat.cpu(), None))
            return
        host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
        host.copy_(flat, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._flying.append(_Flight(packets, host, event))


def _read(flight: _Flight) -> Iterator[Landed]:
    host = flight.host.numpy()
    start = 0
    for packet in flight.packets:
        end = start + packet.flat.numel()
        values = packet.unpack(host[start:end])
        yield Landed(packet.step, packet.epoch, packet.batch_idx, packet.stage, values, packet.learned, packet.sharded)
        start = end


def is_finite_now(value: Tensor) -> bool | None:
    """Whether all of a *CPU* tensor is finite; None on an accelerator, where asking would wait for the device."""
    if not value.is_cpu:
        return None
    if value.ndim == 0:  # a loss at every step: a tenth of the time
        return math.isfinite(value.item())
    return math.isfinite(value.sum().item()) or bool(torch.isfinite(value).all())  # a sum is a quarter of the work


def rounded(value: float) -> float:
    """Return a number rounded to float32, as everything that travels is: a record replays to the very same numbers."""
    return ctypes.c_float(value).value


def wait_for_all(values: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return CPU tensors of a checkpoint as arrays."""
    return {name: value.cpu().numpy().copy() for name, value in values.items()}


def wait_for(value: Tensor) -> NDArray[np.float64]:
    """Return a tensor's values and wait for them: for events that happen once a run, never in the hot path."""
    return value.detach().to("cpu", torch.float64).numpy()
