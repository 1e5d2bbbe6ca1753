"""What tells weights still as they were drawn from trained ones, and which parameters a forward pass uses: once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_diag.probes.activation_hooks import Hook, Switch
from lightning_diag.probes.activation_wiring import compiled_modules
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.parameters import TrainedParameters
from lightning_diag.probes.shards import is_distributed
from lightning_diag.probes.strided import strided_view

EQUAL = 1e-6  # standard deviation over root mean square below which elements count as equal: float32's rounding
LEAST = 8  # elements that say something


class StartProbe(Probe):
    """Looks at the weights and at the forward pass of the first sampled step, and never again in a run.

    The kurtosis is that of a strided sample of at most 1,024 elements (relative standard error about 4 % for values
    drawn from a uniform, 15 % from a normal distribution). Which parameters are used is seen by forward hooks that hang
    for this one step on the modules which own them; compiled modules get none.
    """

    signals = ("weight/kurtosis", "weight/called")
    kept = ("_done",)

    def attach(self, scene: Scene) -> dict[str, str]:
        self._done = False
        self._hung: list[tuple[nn.Module, Hook]] = []
        self._switch = Switch()
        self._called: set[int] = set()
        self._kurtosis: Tensor | None = None
        self._module = scene.module
        self._parameters = TrainedParameters.of(scene.module, scene.optimizers)
        tensors = self._parameters.tensors
        reason = ""
        if not tensors:
            reason = "no parameter of the module is trainable"
        elif any(map(is_distributed, tensors)) or any(p.numel() == 0 for p in tensors):
            reason = "parameters are sharded"
        self._off = bool(reason)
        return dict.fromkeys(self.signals, reason) if reason else {}

    def batch_start(self, batch: Batch) -> None:
        if self._off or self._done or self._kurtosis is not None:
            return
        device = self._parameters.device
        self._kurtosis = torch.stack([kurtosis(p).to(device) for p in self._parameters.tensors])
        self._switch.on = True
        compiled = compiled_modules(self._module)
        for module in self._module.modules():
            if id(module) in compiled or not _owns(module):
                continue
            hook = Hook(self._switch, lambda module, args, kwargs, output: self._called.add(id(module)))
            hook.hang(module)
            self._hung.append((module, hook))

    def collect(self) -> Values:
        if self._kurtosis is None:
            return []
        values: Values = [("weight/kurtosis", self._kurtosis), ("weight/called", self._used())]
        self.detach()
        self._done = True
        return values

    def detach(self) -> None:
        for module, hook in self._hung:
            hook.take_off(module)
        self._hung, self._kurtosis = [], None
        self._switch.on = False

    def _used(self) -> NDArray[np.float64]:
        """1 where a module that owns the parameter was called, 0 where none was, NaN where nobody looked ``(P,)``."""
        watched = {id(m) for m, _ in self._hung}
        used: dict[int, float] = {}
        for module in self._module.modules():
            for parameter in module.parameters(recurse=False):
                seen = float(id(module) in self._called) if id(module) in watched else np.nan
                used[id(parameter)] = np.fmax(used.get(id(parameter), np.nan), seen)
        for module in self._module.modules():  # reads its projection's weights without calling it
            if isinstance(module, nn.MultiheadAttention) and id(module) in self._called:
                used.update({id(p): 1.0 for p in module.parameters()})
        return np.array([used.get(id(p), np.nan) for p in self._parameters.tensors])


def _owns(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters(recurse=False))


def kurtosis(tensor: Tensor) -> Tensor:
    """Return the fourth central moment over the squared variance of a strided sample, a float32 scalar.

    1.8 for a uniform distribution, 3 for a normal one. 0 where all elements are equal and not 0, NaN where all are 0
    or there are fewer than 8.
    """
    view = strided_view(torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor).float()
    if view.numel() < LEAST:
        return torch.full((), torch.nan, device=view.device)
    square = (view - view.mean()).square()
    variance, size = square.mean(), view.square().mean()
    found = square.square().mean() / variance.square()
    return torch.where(variance > EQUAL**2 * size, found, torch.where(size > 0, 0.0, torch.nan))
