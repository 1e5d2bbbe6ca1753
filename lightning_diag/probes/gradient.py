"""Gradient norms before and after clipping, weight norms and update-to-weight ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.constants import constant
from lightning_diag.probes.norms import l2_norms, total_norm
from lightning_diag.probes.optimizers import decay_of_each, decays, names, rates
from lightning_diag.probes.parameters import TrainedParameters, dropout, fan_in
from lightning_diag.probes.shards import copies, is_distributed, shard_of
from lightning_diag.probes.strided import Samples
from lightning_diag.reading import Reading

_UPDATES = ("weight/parameter_norm", "weight/distance", "update/parameter_ratio")
_OPAQUE = {
    "FSDPStrategy": "FSDP1 flattens parameters before it shards them (ModelParallelStrategy, FSDP2, doesn't)",
    "DeepSpeedStrategy": "DeepSpeed keeps gradients and master weights in its engine",
}


class GradientProbe(Probe):
    """Reads gradients where they are complete and unscaled, and weights on both sides of the optimizer's step.

    Gradient norms are exact (one fused pass); weight norms and updates come from a strided sample of at most 1,024
    elements a parameter (relative standard error about 2 %), so nothing is copied whole.

    A parameter that several optimizers step is measured at the last of them. Of sharded parameters (DTensor: FSDP2,
    tensor parallelism) each process sends the norm of what it holds, divided by the root of the number of processes
    that hold the same, so that the root of the sum of squares over processes is the whole's norm. What keeps its
    shards to itself (FSDP1, DeepSpeed) is not measurable; DeepSpeed's own global norm is taken.
    """

    kept = ("_starts",)
    signals = (
        "lr",
        "grad/norm",
        "grad/norm_after_clip",
        "grad/clipped",
        "grad/parameter_norm",
        "grad/missing",
        "grad/carried_norm",
        "grad/optimizer_norm",
        "optimizer/shared_loss",
        "optimizer/weight_decay",
        *_UPDATES,
    )

    def attach(self, scene: Scene) -> dict[str, str]:
        self._scene = scene
        self._optimizers = list(scene.optimizers)
        self.parameters = TrainedParameters.of(scene.module, self._optimizers)
        self._sharded = False
        self._starts: dict[int, Tensor] = {}  # each optimizer's sample of weights as they were at first
        self._carried: Tensor | None = None  # norm of the gradients there before the step's first backward
        self._handed = 0  # losses handed to backward in this batch
        self._clear()
        reason = self._why_not()
        if reason:
            self._optimizers = []
            known = () if self._scene.engine_norm is None else ("lr", "grad/norm")
            return {name: reason for name in self.signals if name not in known}
        self._device = self.parameters.tensors[0].device
        self._members = self._by_optimizer()
        order = [i for members in self._members for i in members]
        self._position = torch.tensor(order, device=self._device).argsort()
        self._tensors = [[self.parameters.tensors[i] for i in members] for members in self._members]
        self._sharded = scene.facts.world_size > 1 and any(map(is_distributed, self.parameters.tensors))
        self._samples = [Samples(self._held(tensors)) for tensors in self._tensors]
        self._share = [self._shares(tensors) for tensors in self._tensors]
        self._blow_up = [samples.blow_up(self._device) for samples in self._samples]
        holders = self.parameters.holder
        self._clearable = torch.tensor([h >= 0 for h in holders], device=self._device)  # the others' no one clears
        self._watch_carried = scene.automatic or len(self._optimizers) == 1
        self._measure_after = not scene.automatic or bool(scene.facts.clip_val)
        return {}

    def facts(self) -> Mapping[str, Any]:
        known = self.parameters
        return {
            "names": {"parameter": known.names, **names(self._scene.optimizers, known)},
            "parameter_kind": known.kinds,
            "parameter_numel": tuple(p.numel() for p in known.tensors),
            "parameter_fan_in": tuple(fan_in(p, k) for p, k in zip(known.tensors, known.kinds, strict=True)),
            "parameter_decay": decay_of_each(self._optimizers, known),
            "parameter_optimizer": known.holder,
            "group_optimizer": tuple(k for k, opt in enumerate(self._scene.optimizers) for _ in opt.param_groups),
            "dropout": dropout(self._scene.module),
            "in_optimizer": tuple(h >= 0 for h in known.holder),
            "normalized": "norm" in known.kinds,
            "sharded": self._sharded,
        }

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        now, known = reading.scalar("optimizer/shared_loss"), reading.facts.shared_loss
        return {} if now is None or known is False or known == (now == 1) else {"shared_loss": now == 1}

    def batch_start(self, batch: Batch) -> None:
        self._handed = 0

    def loss(self, batch: Batch) -> None:
        self._handed += 1
        if not self._optimizers or not self._watch_carried or self._carried is not None:
            return  # with several optimizers stepped by hand, one's gradients may wait while another's are made
        known = self.parameters
        if all(p.grad is None for p, holder in zip(known.tensors, known.holder, strict=True) if holder >= 0):
            self._carried = constant(0.0, self._device)
        else:
            norms = self._whole({k: self._norms_now(k) for k in range(len(self._tensors))})
            self._carried = total_norm(torch.where(self._clearable, norms, 0.0))

    def before_update(self, optimizer: int) -> None:
        if not self._optimizers:
            return
        grads = [p.grad for p in self._tensors[optimizer]]
        norms = self._norms_now(optimizer)
        factor = self._scene.inverse_scale(self._scene.optimizers[optimizer])
        self._norms[optimizer] = norms if factor is None else norms * factor
        self._missing[optimizer] = [float(grad is None) for grad in grads]
        if grads:
            if self._sharded:
                self._samples[optimizer].hold(self._held(self._tensors[optimizer]))
            self._weights[optimizer] = self._samples[optimizer].rows(0)

    def after_update(self, optimizer: int) -> None:
        if optimizer not in self._weights:
            return
        if self._measure_after:
            self._clipped[optimizer] = self._norms_now(optimizer)
        before = self._weights.pop(optimizer)
        start = self._starts.get(optimizer)
        if start is None or start.shape != before.shape:  # also where a checkpoint was made by other processes
            start = self._starts[optimizer] = before.clone()
        far = torch.linalg.vector_norm(before - start, dim=1)
        change = torch.linalg.vector_norm(self._samples[optimizer].rows(1) - before, dim=1)
        weight = torch.linalg.vector_norm(before, dim=1)
        part = self._blow_up[optimizer] * self._share[optimizer] if self._sharded else self._blow_up[optimizer]
        self._sizes[optimizer], self._ways[optimizer] = weight * part, far * part
        nan = constant(float("nan"), self._device)
        ratio = change * part if self._sharded else change / torch.where(weight > 0, weight, nan)
        self._ratios[optimizer] = ratio

    def collect(self) -> Values:
        if not self._norms:
            return self._engine() if self._scene.engine_norm is not None else []
        norms = self._whole(self._norms)
        before = total_norm(torch.cat(list(self._norms.values())))
        after = total_norm(torch.cat(list(self._clipped.values()))) if self._clipped else before
        values: Values = [
            ("lr", rates(self._optimizers)),
            ("optimizer/weight_decay", decays(self._optimizers)),
            ("grad/norm", before),
            *([] if self._carried is None else [("grad/carried_norm", self._carried)]),
            ("grad/norm_after_clip", after),
            ("grad/parameter_norm", norms),
            ("grad/missing", self._absent()),
        ]
        if len(self._optimizers) > 1:
            values.append(("grad/optimizer_norm", self._by_each()))
            shared = self._handed == 1 and len(self._norms) == len(self._optimizers)
            values.append(("optimizer/shared_loss", np.float64(shared)))
        if not self._sharded:  # else the host compares what all processes have
            clipped = 0.0 if after is before else (after < before * (1 - 1e-4)).float()
            values.insert(3, ("grad/clipped", clipped))
        if self._ratios:
            change = "update/parameter_norm" if self._sharded else "update/parameter_ratio"
            values.append(("weight/parameter_norm", self._whole(self._sizes)))
            values.append(("weight/distance", self._whole(self._ways)))
            values.append((change, self._whole(self._ratios)))
        self._clear()
        return values

    def detach(self) -> None:
        self._clear()
        self._starts = {}
        self._optimizers = []
        self._samples = []
        self._tensors = []

    def _clear(self) -> None:
        self._carried = None
        self._norms: dict[int, Tensor] = {}
        self._clipped: dict[int, Tensor] = {}
        self._missing: dict[int, list[float]] = {}
        self._weights: dict[int, Tensor] = {}
        self._ratios: dict[int, Tensor] = {}
        self._sizes: dict[int, Tensor] = {}
        self._ways: dict[int, Tensor] = {}

    def _by_optimizer(self) -> list[list[int]]:
        """Parameter indices measured with each optimizer; those that none holds go with the first."""
        holder = [max(h, 0) for h in self.parameters.holder]
        return [[i for i, h in enumerate(holder) if h == k] for k in range(len(self._optimizers))]

    def _why_not(self) -> str | None:
        """Why nothing can be measured here; None when it can."""
        if not self.parameters.tensors:
            return "no parameter of the module is trainable"
        if not self._optimizers:
            return "the trainer has no optimizer"
        if self._scene.facts.strategy in _OPAQUE:
            return _OPAQUE[self._scene.facts.strategy]
        if any(p.numel() == 0 for p in self.parameters.tensors):
            return "a parameter has no elements"
        if any(copies(p, self._scene.facts.world_size) is None for p in self.parameters.tensors):
            return "the processes hold parameters as summands"
        return None

    def _norms_now(self, optimizer: int) -> Tensor:
        """Norms of its gradients ``(P,)``, or of this process's part of them."""
        grads = [p.grad for p in self._tensors[optimizer]]
        if not self._sharded:
            return l2_norms(grads, self._device)
        shards = [None if grad is None else shard_of(grad) for grad in grads]
        return l2_norms(shards, self._device) * self._share[optimizer]

    def _held(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [shard_of(t.detach()) for t in tensors] if self._sharded else list(tensors)

    def _shares(self, tensors: Sequence[Tensor]) -> Tensor:
        """One over the root of the number of processes that hold the same elements, ``(P,)``."""
        counts = [copies(t, self._scene.facts.world_size) or 1.0 for t in tensors]
        return torch.tensor(counts, device=self._device, dtype=torch.float32).rsqrt()

    def _engine(self) -> Values:
        """The norm that the strategy's engine has of the step, where it has one."""
        norm = self._scene.engine_norm() if self._scene.engine_norm is not None else None
        return [] if norm is None else [("lr", rates(self._scene.optimizers)), ("grad/norm", norm)]

    def _whole(self, parts: Mapping[int, Tensor]) -> Tensor:
        """Put the optimizers' parts together in parameter order; NaN where an optimizer did not step."""
        if len(self._members) == 1:
            return parts[0]
        nan = float("nan")
        pieces = [
            parts[k] if k in parts else torch.full((len(members),), nan, device=self._device, dtype=torch.float32)
            for k, members in enumerate(self._members)
        ]
        return torch.cat(pieces)[self._position]

    def _absent(self) -> NDArray[np.float64]:
        absent = np.full(len(self.parameters.names), np.nan)
        for k, flags in self._missing.items():
            absent[self._members[k]] = flags
        return absent

    def _by_each(self) -> Tensor:
        """Norm of each optimizer's gradients, NaN where it did not step, ``(optimizers,)``."""
        nan = torch.full((), float("nan"), device=self._device)
        return torch.stack([
            total_norm(self._norms[k]) if k in self._norms else nan for k in range(len(self._optimizers))
        ])  # fmt: skip
