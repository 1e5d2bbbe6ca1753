"""Memory that samples of activations are taken into, step after step: new memory costs more than filling it does."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Guest(Protocol):
    """Whoever takes a sample a step."""

    room: Tensor | None  # where the step's first sample is to be taken


class Shelves:
    """One tensor for all samples that are measured together, and one that the measuring may write over.

    A guest gets the place in which its sample will lie beside those it was measured with last. Of groups that a step
    doesn't have nothing is kept: there are as many places as samples a step.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[list[Guest], list[Tensor], Tensor]] = {}
        self._before = self._kept
        self._scratch: dict[torch.device, Tensor] = {}

    def start(self) -> None:
        """A step's samples are there."""
        self._before, self._kept = self._kept, {}

    def together(self, group: Hashable, guests: Sequence[Guest], samples: Sequence[Tensor]) -> Tensor:
        """Return the samples ``(N, ...)`` of one group of guests."""
        there, rooms, shelf = self._before.pop(group, ((), (), None))
        if shelf is None or there != list(guests) or any(map(_differ, rooms, samples)):
            _leave(there)
            shelf = torch.stack(list(samples))
            rooms = list(shelf.unbind(0))
        self._kept[group] = list(guests), list(rooms), shelf
        return shelf

    def end(self) -> None:
        """All are measured: show the guests their rooms."""
        for there, _, _ in self._before.values():
            _leave(there)
        self._before = {}
        for there, rooms, _ in self._kept.values():
            for guest, room in zip(there, rooms, strict=True):
                guest.room = room

    def scratch(self, like: Tensor) -> Tensor:
        """Return memory of this shape, dtype and device with anything in it."""
        flat = self._scratch.get(like.device)
        if flat is None or flat.numel() < like.numel():
            flat = self._scratch[like.device] = torch.empty(like.numel(), device=like.device, dtype=like.dtype)
        return flat[: like.numel()].view(like.shape)


def _differ(room: Tensor, sample: Tensor) -> bool:
    return room is not sample


def _leave(guests: Sequence[Guest]) -> None:
    for guest in guests:
        guest.room = None
