"""Samples of one step, kept apart by what made them, and measured together at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lightning_diag._transfer import is_finite_now
from lightning_diag.probes import activation_kernels as kernels
from lightning_diag.probes.activation_curves import Curve
from lightning_diag.probes.activation_kernels import Memory
from lightning_diag.probes.activation_shelves import Shelves

TRACKS = 8  # layers that may share one activation module
CALLS = 128  # calls of one module a step that are looked at: the 1st, 2nd, 4th ... of them


class Track:
    """What passed one site behind one layer: a unit is that layer's unit.

    Two layers that share an activation module have a track each; one layer called at many time steps has one.
    """

    def __init__(self, curve: Curve, units: int, device: torch.device) -> None:
        self.curve = curve
        self.units = units
        self.memory = Memory.fresh(units, device)  # that of one entry
        self.rows = 0
        self.calls = 0
        self.outputs: list[Tensor] = []
        self.inputs: list[Tensor] = []
        self.room: Tensor | None = None  # memory for the first sample of a step

    @property
    def memory(self) -> Memory:
        """What is remembered of it."""
        return Memory(self._all.units[self._at : self._at + 1], self._all.entry[self._at : self._at + 1])

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self.remember(memory, 0)

    def remember(self, memory: Memory, at: int) -> None:
        """Keep one entry of a memory that several tracks share: the same ones are often measured together again."""
        self._all, self._at = memory, at

    def shares(self, memory: Memory, at: int) -> bool:
        """Whether it keeps this entry of this memory."""
        return self._all is memory and self._at == at

    def wants(self) -> bool:
        """Count a call; whether it is one of those looked at."""
        self.calls += 1
        return self.calls & (self.calls - 1) == 0 and self.calls <= CALLS

    def push(self, output: Tensor, given: Tensor | None) -> None:
        """Keep a sample ``(B, P, U)`` of the output, and of the input where the curve's limits are on it."""
        if self.outputs and self.outputs[0].shape[1] != output.shape[1]:
            return  # another number of positions: one of them will do
        if self._all.units.device != output.device:
            self.memory = self.memory.on(output.device)  # from a checkpoint it comes not knowing where the layer is
        self.outputs.append(output)
        if given is not None:
            self.inputs.append(given)

    def drain(self) -> tuple[Tensor, Tensor]:
        """Return outputs and what is judged, ``(B, P, U)`` each, and be empty."""
        outputs, inputs = self.outputs, self.inputs
        self.outputs, self.inputs, self.calls = [], [], 0
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        if not inputs:
            return output, output
        return output, inputs[0] if len(inputs) == 1 else torch.cat(inputs)


def measured(tracks: Sequence[Track], hidden: Iterable[bool], shelves: Shelves) -> list[Tensor]:
    """Measure the tracks' samples, those of equal shape and curve in one go; return ``(K,)`` each, and drain them.

    ``hidden`` says for each whether it lies within the network: a gate's or an output's saturation isn't judged.
    ``shelves`` are memory that is used again from one step to the next.
    """
    found: list[Tensor | None] = [None] * len(tracks)
    groups: dict[tuple[Curve, torch.Size, torch.device], list[tuple[int, Tensor, Tensor]]] = {}
    for i, (track, inside) in enumerate(zip(tracks, hidden, strict=True)):
        output, given = track.drain()
        track.rows += output.shape[0] * output.shape[1]
        curve = track.curve if inside or not track.curve.can_saturate else _without_ends(track.curve)
        groups.setdefault((curve, output.shape, output.device), []).append((i, output, given))
    shelves.start()
    for group, members in groups.items():
        curve = group[0]
        alike = [tracks[i] for i, _, _ in members]
        outputs = shelves.together(group, alike, [output for _, output, _ in members])
        given = _stack([g for _, _, g in members]) if curve.of_input else outputs
        memory = _joined(alike)
        stats, memory = kernels.measure(outputs, given, memory, curve, shelves.scratch(outputs), is_finite_now)
        for k, ((i, _, _), row) in enumerate(zip(members, stats.unbind(0), strict=True)):
            found[i] = row
            tracks[i].remember(memory, k)
    shelves.end()
    return [f for f in found if f is not None]


def _joined(tracks: Sequence[Track]) -> Memory:
    """The memory of several tracks: the one they share, where they are all of its entries in their order."""
    first = tracks[0]._all
    if len(first.units) == len(tracks) and all(track.shares(first, k) for k, track in enumerate(tracks)):
        return first
    memories = [track.memory for track in tracks]
    return Memory(torch.cat([m.units for m in memories]), torch.cat([m.entry for m in memories]))


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))


@lru_cache(maxsize=64)
def _without_ends(curve: Curve) -> Curve:
    return dataclasses.replace(curve, low=None, high=None)
