"""Which layers that behave differently in evaluation are in evaluation mode while they are trained: once a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.parameters import clean_name

BatchNorm = nn.modules.batchnorm._BatchNorm
Dropout = nn.modules.dropout._DropoutNd


class ModeProbe(Probe):
    """Reads the mode of dropout and batch normalization in the first sampled step, when its loss is known.

    Looked at are dropout layers with a rate above 0 whose parent holds trainable parameters (a frozen body or a
    teacher may well be in evaluation mode), recurrent and attention layers with a dropout of their own, and batch
    normalizations with running statistics and trainable parameters, if they have parameters. Dropout that a forward
    pass calls as a function is not seen.
    """

    signals = ("mode/dropout", "mode/batch_norm")
    kept = ("_done",)

    def attach(self, scene: Scene) -> dict[str, str]:
        self._done = False
        self._values: Values = []
        self._dropouts: dict[str, nn.Module] = {}
        self._norms: dict[str, BatchNorm] = {}
        for name, module in scene.module.named_modules():
            if _drops(module):
                parent = scene.module.get_submodule(name.rpartition(".")[0]) if isinstance(module, Dropout) else module
                if any(p.requires_grad for p in parent.parameters()):
                    self._dropouts[clean_name(name)] = module
            elif isinstance(module, BatchNorm) and module.running_mean is not None:
                own = list(module.parameters(recurse=False))
                if not own or any(p.requires_grad for p in own):
                    self._norms[clean_name(name)] = module
        missing = {}
        if not self._dropouts:
            missing["mode/dropout"] = "no dropout layer stands beside parameters that are trained"
        if not self._norms:
            missing["mode/batch_norm"] = "no batch normalization with running statistics is trained"
        return missing

    def facts(self) -> Mapping[str, Any]:
        return {"names": {"dropout": tuple(self._dropouts), "batch_norm": tuple(self._norms)}}

    def loss(self, batch: Batch) -> None:
        if self._done:
            return
        self._done = True
        if self._dropouts:
            self._values.append(("mode/dropout", np.array([float(not m.training) for m in self._dropouts.values()])))
        norms = self._norms.values()
        if any(not m.training for m in norms):
            with torch.no_grad():
                self._values.append(("mode/batch_norm", torch.stack([_code(m) for m in norms])))
        elif norms:  # nothing has to be read from the device
            self._values.append(("mode/batch_norm", np.zeros(len(norms))))

    def collect(self) -> Values:
        values, self._values = self._values, []
        return values

    def detach(self) -> None:
        self._dropouts, self._norms, self._values = {}, {}, []


def _code(norm: BatchNorm) -> Tensor:
    """0 in training mode, 1 in evaluation mode, 2 there with statistics as they began."""
    assert norm.running_mean is not None and norm.running_var is not None
    began = (norm.running_mean == 0).all() & (norm.running_var == 1).all()
    return (began.float() + 1) * float(not norm.training)


def _drops(module: nn.Module) -> bool:
    if isinstance(module, Dropout):
        return module.p > 0
    return isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and module.dropout > 0
