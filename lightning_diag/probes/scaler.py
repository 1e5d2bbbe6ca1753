"""The loss scale of float16 training, and the steps that its scaler skipped."""

from __future__ import annotations

from torch import Tensor

from lightning_diag.probes.base import Batch, Probe, Scene, Values


class ScalerProbe(Probe):
    """Follows the gradient scaler at every step.

    A scaler lowers its scale exactly when it found a gradient that isn't finite and left the weights alone, so a scale
    that fell is a skipped step. (The optimizer's own hooks don't tell: a fused optimizer is called and skips inside.)
    Two numbers stay on the device; nothing is read.
    """

    signals = ("scaler/scale", "scaler/skipped")
    every_step = True

    def attach(self, scene: Scene) -> dict[str, str]:
        self._scale = scene.scale
        self._before: Tensor | None = None
        if self._scale is None:
            return dict.fromkeys(self.signals, "the precision has no gradient scaler")
        return {}

    def loss(self, batch: Batch) -> None:
        if self._before is None and self._scale is not None:
            scale = self._scale()  # the scaler makes it when it is used first
            self._before = None if scale is None else scale.detach().clone()

    def collect(self) -> Values:
        scale = None if self._scale is None else self._scale()
        if scale is None or self._before is None:
            return []
        before, self._before = self._before, scale.detach().clone()
        return [("scaler/scale", self._before), ("scaler/skipped", (self._before < before).float())]

    def detach(self) -> None:
        self._scale = self._before = None
