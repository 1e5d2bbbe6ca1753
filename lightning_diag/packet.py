"""One step's signals on the device: one flat tensor and its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag.signals import SIGNALS


@dataclass(frozen=True)
class Packet:
    """Signals of one step in one flat float32 tensor of shape ``(n,)`` on the device of the run.

    Attributes:
        step: optimizer step measured, 1 = the first.
        epoch: from 0.
        batch_idx: index of the (last micro-)batch in its epoch.
        stage: ``train`` or ``validation``.
        flat: all values, one after the other.
        layout: ``(signal, shape)`` in the order of ``flat``.
        known: signals whose values the host knows anyway (learning rates); they don't travel.
        learned: fields of the run's facts that became known with it, plain data.
        sharded: whether parameters are spread over processes, so that norms are parts of a whole.
    """

    step: int
    epoch: int
    batch_idx: int
    stage: str
    flat: Tensor
    layout: tuple[tuple[str, tuple[int, ...]], ...]
    known: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    learned: Mapping[str, Any] = field(default_factory=dict)
    sharded: bool = False

    @classmethod
    def pack(
        cls,
        step: int,
        epoch: int,
        batch_idx: int,
        stage: str,
        values: Sequence[tuple[str, Tensor | NDArray[Any] | float]],
        learned: Mapping[str, Any] | None = None,
        *,
        sharded: bool = False,
    ) -> Packet:
        """Make a packet of ``(signal, tensor or host array)`` pairs: one concatenation, no sync.

        Raises:
            KeyError: a name is not in the signal table.
        """
        for name, _ in values:
            if name not in SIGNALS:
                raise KeyError(f"{name!r} is not in signals.SIGNALS")
        tensors = [(name, value) for name, value in values if isinstance(value, Tensor)]
        known = {name: _as_measured(value) for name, value in values if not isinstance(value, Tensor)}
        layout = tuple((name, tuple(value.shape)) for name, value in tensors)
        flats = [value.detach().reshape(-1).to(torch.float32) for _, value in tensors]
        flat = flats[0] if len(flats) == 1 else torch.cat(flats) if flats else torch.empty(0)
        return cls(step, epoch, batch_idx, stage, flat, layout, known, learned or {}, sharded)

    def unpack(self, host: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Return signal -> float64 array from the host's copy of ``flat``, shape ``(n,)``."""
        values = dict(self.known)
        start = 0
        for name, shape in self.layout:
            end = start + prod(shape)
            values[name] = host[start:end].astype(np.float64).reshape(shape)
            start = end
        return values


def _as_measured(value: NDArray[Any] | float) -> NDArray[np.float64]:
    """Round to float32 like everything that travels, so that a record replays to the very same numbers."""
    return np.asarray(value, dtype=np.float32).astype(np.float64)
