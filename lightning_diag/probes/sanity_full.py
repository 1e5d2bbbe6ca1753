"""The first batch, learned by heart on a copy: can this module, loss and optimizer learn anything at all?"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag._transfer import wait_for
from lightning_diag.errors import NotMeasurable
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import find_target
from lightning_diag.probes.isolated import brief, undisturbed, untouched
from lightning_diag.probes.observer import Observer
from lightning_diag.probes.parameters import TrainedParameters
from lightning_diag.probes.sanity_calls import mapped
from lightning_diag.probes.stage import Stage, direction, fit
from lightning_diag.reading import Reading
from lightning_diag.streaming.fit_curve import left

STEPS = 200
LIMIT_S = 300.0  # for each curve
RATES = (1e-3, 1e-2)  # of Adam, where the user's own optimizer doesn't get there
ENOUGH = 0.1  # share of the first loss at which no further optimizer is tried
SHARES = (1e-2, 1e-3)  # by which one step should lower the loss
OWN, SHUFFLED = "own optimizer", "targets shuffled"
CURVES, STEP, EVAL, RIGHT, CHANCE = (
    "sanity/fit_loss", "sanity/step_ratio", "sanity/eval_loss", "sanity/fit_accuracy", "sanity/fit_chance",
)  # fmt: skip


class FullSanityProbe(Probe):
    """Trains copies of the module on the first batch, before the run's own first step.

    With the user's optimizer, then with Adam at two rates until one gets the loss down; then once more with the targets
    shuffled among the samples. It runs the user's training step some hundred times, on copies that log nothing; waits
    for the device; and takes the memory of a second training. Random streams are put back.

    Args:
        steps: steps of each curve.
        limit_s: seconds that each may take.
    """

    signals = (CURVES, STEP, EVAL, RIGHT, CHANCE)
    kept = ("_done",)

    def __init__(self, steps: int = STEPS, limit_s: float = LIMIT_S) -> None:
        self.steps = steps
        self.limit_s = limit_s

    def attach(self, scene: Scene) -> dict[str, str]:
        self._scene = scene
        self._done = False
        self._values: Values = []
        self._learned: dict[str, Any] = {}
        self._device = TrainedParameters.of(scene.module, scene.optimizers).device
        why = ""
        if scene.facts.world_size > 1 or scene.facts.sharded:
            why = "several processes train together"
        self._done = bool(why)
        return dict.fromkeys(self.signals, why) if why else {}

    def batch_start(self, batch: Batch) -> None:
        if self._done:
            return
        self._done = True
        try:
            with undisturbed(self._device), untouched(self._scene.module), torch.enable_grad():
                self._values = self._tried(copy.deepcopy(batch.batch))
        except NotMeasurable as reason:
            self._lost(str(reason))
        except Exception as error:
            self._lost(f"the training step fails on a copy: {brief(error)}")

    def collect(self) -> Values:
        values, self._values = self._values, []
        return values

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        """Tell the names of the curves, and why there are none."""
        learned, self._learned = self._learned, {}
        return learned

    def detach(self) -> None:
        self._values = []

    # ------------------------------------------------------------------ inside

    def _lost(self, reason: str) -> None:
        self._learned = {"unmeasured": dict.fromkeys(self.signals, reason)}
        self._values = [(CURVES, np.full((1, 1), np.nan))]

    def _stage(self) -> Stage:
        if self._scene.rehearse is None:
            raise NotMeasurable("the training step can't be run on the side here")
        return self._scene.rehearse()

    def _tried(self, batch: Any) -> Values:
        torch.manual_seed(0)
        values: Values = [(STEP, direction(self._stage(), batch, SHARES))]
        curves: dict[str, NDArray[np.float64]] = {}
        best, rate = None, None
        for tried in (None, *RATES):
            stage = self._stage()
            curve = self._curve(stage, batch, tried)
            curves[OWN if tried is None else f"Adam {tried:g}"] = curve
            if best is None or left(curve) < min(left(c) for c in list(curves.values())[:-1]):
                best, rate = stage, tried
            if left(curve) <= ENOUGH:
                break
        assert best is not None
        values += _afterwards(best, batch)
        other = _shuffled(batch)
        if other is not None:
            curves[SHUFFLED] = self._curve(self._stage(), other, rate)
        self._learned = {"names": {"curve": tuple(curves)}}
        return [(CURVES, np.stack(list(curves.values()))), *values]

    def _curve(self, stage: Stage, batch: Any, rate: float | None) -> NDArray[np.float64]:
        optimizer = stage.optimizer() if rate is None else torch.optim.Adam(stage.trained, lr=rate)
        torch.manual_seed(0)
        return wait_for(fit(stage, batch, optimizer, self.steps, self.limit_s))


def _afterwards(stage: Stage, batch: Any) -> Values:
    """Loss in evaluation mode, accuracy in training mode, and that of always saying the most frequent target."""
    values: Values = []
    observer = Observer(stage.module)
    with torch.no_grad():
        observer.start(True)
        stage.loss(copy.deepcopy(batch))
        seen = observer.look(batch)
        observer.detach()
        if seen is not None and seen.predicted is not None and seen.target is not None:
            valid = seen.target >= 0
            right = ((seen.predicted == seen.target) & valid).sum() / valid.sum()
            most = torch.bincount(seen.target[valid].flatten()).amax() / valid.sum()
            values += [(RIGHT, right), (CHANCE, most)]
        stage.module.eval()
        values.append((EVAL, stage.loss(copy.deepcopy(batch)).float()))
    return values


def _shuffled(batch: Any) -> Any | None:
    """The batch with its targets dealt to other samples; None where they aren't found."""
    target = find_target(batch)
    if target is None or target.ndim == 0 or target.shape[0] < 4:
        return None
    order = torch.randperm(target.shape[0], generator=torch.Generator().manual_seed(0)).to(target.device)

    def deal(tensor: Tensor) -> Tensor:
        return tensor[order] if tensor is target else tensor

    try:
        return mapped(batch, deal)
    except NotMeasurable:
        return None
