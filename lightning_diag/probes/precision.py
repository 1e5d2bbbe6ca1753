"""What a number format loses: gradients near its smallest number, and steps too small to change a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lightning_diag.probes.base import Probe, Scene, Values
from lightning_diag.probes.constants import constant
from lightning_diag.probes.parameters import TrainedParameters
from lightning_diag.probes.shards import is_distributed
from lightning_diag.probes.strided import strided_view

TENSORS = 16  # parameters looked at, evenly spread: a number format is the same for all of them
BITS = 5  # gradients within so many bits of the smallest one keep no more than that of float16's 11
EXACT = 0.01  # deviation from a whole multiple of the smallest one; by chance 2 % lie so near
LEAST = 8  # gradients that aren't zero; of fewer nothing can be said
SHORT = (torch.float16, torch.bfloat16)


class PrecisionProbe(Probe):
    """Looks at a strided sample of 1,024 elements of at most 16 parameters, before and after the optimizer's step.

    float16 has a smallest number, and gradients near it are whole multiples of it: of gradients that have underflowed
    many are small multiples of the smallest that isn't zero, whatever the loss scale. Of others next to none are.
    (bfloat16 has the range of float32.)
    """

    signals: ClassVar[tuple[str, ...]] = ("grad/zero_frac", "grad/quantized_frac", "update/lost_frac")

    def attach(self, scene: Scene) -> dict[str, str]:
        known = TrainedParameters.of(scene.module, list(scene.optimizers))
        held = [(k, p) for k, p in zip(known.holder, known.tensors, strict=True) if k >= 0 and p.numel()]
        self._counts: list[Tensor] = []
        self._elements = 0  # of these counts
        self._lost: list[Tensor] = []
        self._before: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}
        self._chosen: dict[int, list[Tensor]] = {}
        if not held or any(map(is_distributed, known.tensors)):
            reason = "no trained parameter" if not held else "parameters are sharded over processes"
            return dict.fromkeys(self.signals, reason)
        count = min(TENSORS, len(held))
        for i in range(count):
            optimizer, parameter = held[i * len(held) // count]
            self._chosen.setdefault(optimizer, []).append(parameter)
        if not any(p.dtype in SHORT for _, p in held):
            return {"update/lost_frac": "weights are in float32"}
        return {}

    def before_update(self, optimizer: int) -> None:
        """Look at the gradients; keep what the step starts from."""
        pairs = [(p, p.grad) for p in self._chosen.get(optimizer, ()) if p.grad is not None and not p.grad.is_sparse]
        if not pairs:
            return
        with torch.no_grad():
            grads = [strided_view(g) for _, g in pairs]
            self._counts.append(near_smallest(grads))
            self._elements += sum(g.numel() for g in grads)
            self._before[optimizer] = [
                (view := strided_view(p), view.clone(), grad != 0)
                for (p, _), grad in zip(pairs, grads, strict=True)
                if p.dtype in SHORT
            ]

    def after_update(self, optimizer: int) -> None:
        """Count the weights that should have changed and did not."""
        for now, before, moved in self._before.pop(optimizer, ()):
            self._lost.append(torch.stack([((now == before) & moved).sum(), moved.sum()]).float())

    def collect(self) -> Values:
        """Return the shares of the step."""
        counts, lost = self._counts, self._lost
        self._counts, self._lost, self._before = [], [], {}
        if not counts:
            return []
        found = counts[0] if len(counts) == 1 else torch.stack(counts).sum(0)
        nonzero = found[0]
        without, more = (found - 1).unbind(0)  # the smallest itself
        quantized = torch.where(nonzero >= LEAST, more / without, constant(torch.nan, found.device))
        values: Values = [("grad/zero_frac", 1 - nonzero / self._elements), ("grad/quantized_frac", quantized)]
        self._elements = 0
        if lost:
            stayed, moved = torch.stack(lost).sum(0)
            values.append(("update/lost_frac", stayed / moved))
        return values

    def detach(self) -> None:
        self._counts, self._lost, self._before, self._chosen = [], [], {}, {}


def near_smallest(grads: Sequence[Tensor]) -> Tensor:
    """Return how many elements aren't zero, and how many of these are near the smallest, ``(2,)``.

    Near: a whole multiple, up to ``2 ** BITS``, of the smallest absolute value that isn't zero.

    >>> near_smallest([torch.tensor([0.0, 1.0, -3.0, 1.5, 1000.0])]).tolist()
    [4.0, 2.0]
    """
    size = torch.cat([g.detach().flatten().float() for g in grads]).abs()
    there = size > 0
    size = torch.where(there, size, constant(torch.inf, size.device))
    multiple = size / size.min()  # what isn't there is infinitely many of them, or no number
    near = (multiple <= 2**BITS) & ((multiple - multiple.round()).abs_() < EXACT)
    return torch.stack([there, near]).sum(1, dtype=torch.float32)
