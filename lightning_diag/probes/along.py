"""Where the gradient points against the way just gone: whether the loss still falls along it."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_diag.probes.base import Probe, Scene, Values
from lightning_diag.probes.parameters import TrainedParameters
from lightning_diag.probes.shards import is_distributed
from lightning_diag.probes.strided import Samples

ELEMENTS = 256  # of a parameter: a product is judged together with at least seven others


class AlongProbe(Probe):
    """The directional derivative of the loss along the change of the weights since the sample before.

    The inner product of a step's gradient with ``w - w'``, the weights now and at the sample before. The gradient is
    that of a batch which had no part in the change, so its noise averages out (unlike that of the product of a gradient
    with the step made of it). Where the loss is a straight line along the way, the sum of these products is what the
    loss fell by; where steps are so large that they reach the bottom of the valley they go across, or the noise of the
    batches moves the weights, it is less, nothing, or of the other sign.

    Estimated from a strided sample of at most 256 elements of each weight matrix and embedding, blown up to its size.
    Sparse gradients count as none.
    """

    signals = ("grad/along",)
    kept = ("_before",)

    def attach(self, scene: Scene) -> dict[str, str]:
        self._scene = scene
        self._samples = Samples([])
        self._before: Tensor | None = None
        self._product: Tensor | None = None
        self._slot = 0
        known = TrainedParameters.of(scene.module, scene.optimizers)
        self._tensors = [
            p
            for p, holder, kind in zip(known.tensors, known.holder, known.kinds, strict=True)
            if holder >= 0 and kind in ("matrix", "embedding") and p.numel()
        ]
        reason = ""
        if len(scene.optimizers) > 1:
            reason = "several optimizers step"
        elif not self._tensors:
            reason = "the optimizer holds no weight matrix"
        elif any(map(is_distributed, known.tensors)):
            reason = "parameters are sharded"
        elif len({p.device for p in self._tensors}) > 1:
            reason = "parameters lie on several devices"
        if reason:
            self._tensors = []
            return {"grad/along": reason}
        self._samples = Samples(self._tensors, ELEMENTS)
        self._sizes = self._samples.blow_up(self._tensors[0].device).square()
        return {}

    def before_update(self, optimizer: int) -> None:
        if not self._tensors:
            return
        with torch.no_grad():
            self._slot = 1 - self._slot  # the memory of the sample before isn't written to
            before, self._before = self._before, self._samples.rows(self._slot)
            if before is None or before.shape != self._before.shape:  # of another network's checkpoint
                return
            gone = self._before - before
            product: Tensor = (
                torch.linalg.vecdot(gone, self._samples.beside([p.grad for p in self._tensors])) @ self._sizes
            )
        factor = self._scene.inverse_scale(self._scene.optimizers[optimizer])
        self._product = product if factor is None else product * factor

    def collect(self) -> Values:
        product, self._product = self._product, None
        return [] if product is None else [("grad/along", product)]

    def detach(self) -> None:
        self._tensors, self._before, self._product = [], None, None
        self._samples = Samples([])
