"""Does the output depend on the input, and each sample's on its own only? The step's calls, made again on a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_diag.errors import NotMeasurable
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import find_target
from lightning_diag.probes.isolated import brief, isolated, undisturbed, untouched
from lightning_diag.probes.parameters import TrainedParameters
from lightning_diag.probes.sanity_calls import Cut, cut_calls
from lightning_diag.probes.sanity_layers import Layers
from lightning_diag.probes.sanity_rows import follows_batch, input_effect, mixing
from lightning_diag.reading import Reading

Places = tuple[tuple[str, ...], Tensor, Tensor]  # names of layers, codes of where it is lost, and mixed

CHECKS = (1, 4, 10, 40, 160)  # sampled steps at which it looks: beyond the first only while something is odd
SUSPECT_EFFECT = 1e-6  # relative change of the output below which it is looked at again
SUSPECT_MIXING = 1e-2  # share of a sample's own change that others may take part in
SIGNALS = ("sanity/input_effect", "sanity/mixing")
LOOKS = "sanity/looks"
PAIRS = "the shape of what the module returns follows the number of samples: it compares samples by design"
PLACES = ("sanity/lost_at", "sanity/mixed_at")


class SanityProbe(Probe):
    """Makes the outermost calls of a step again, with 4 of its samples, on a copy in evaluation mode.

    Once as they were, once with the first sample replaced by the second: does its output change, and only its own?
    Nothing of the user's is called but the modules his step called itself, after the step and on copies, without
    gradients, with every random stream put back, nothing printed and no hook but ours. In evaluation mode batch norm
    uses its running statistics and is no mixing.

    When nothing is odd that is all, once a run. Otherwise it looks again at a few later samples (a last layer that
    starts at zero ignores its input until the first step), then inside, too: where inputs stop having an effect, or
    samples first mix. Values in between are those of the last look.
    """

    signals = (*SIGNALS, LOOKS, *PLACES)
    kept = ("_samples", "_done", "_last")

    def attach(self, scene: Scene) -> dict[str, str]:
        self._scene = scene
        self._samples = 0
        self._done = False
        self._cuts: list[Cut] = []
        self._last: Values = []
        self._learned: dict[str, Any] = {}
        self._reason = ""
        facts = scene.facts
        why = ""
        if facts.world_size > 1:
            why = "a call made again by one process could wait for the others"
        elif facts.sharded:
            why = "weights are sharded"
        self._off = bool(why)
        self._device = TrainedParameters.of(scene.module, scene.optimizers).device
        return dict.fromkeys(self.signals, why) if why else {}

    def loss(self, batch: Batch) -> None:
        """Cut the step's calls down while they are known."""
        if self._off or self._done or self._samples + 1 not in CHECKS or self._cuts or self._reason:
            return
        try:
            self._cuts = cut_calls(self._scene.module, batch.calls, batch.batch, self._sizes(batch))
        except NotMeasurable as reason:
            self._reason = str(reason)

    def collect(self) -> Values:
        """Look, after the step: nothing of its graph is held any more."""
        if self._off or self._done:
            return []
        self._samples += 1
        if self._samples in CHECKS:
            self._last = self._look()
        self._cuts, self._reason = [], ""
        return [*self._last, (LOOKS, float(sum(self._samples >= check for check in CHECKS)))] if self._last else []

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        """Decide on the host whether to look again; tell names, and why something isn't measurable."""
        effect, mixed = (reading.vector(name) for name in SIGNALS)
        if effect is None or mixed is None:
            return {}
        learned, self._learned = self._learned, {}
        blank = not (np.isfinite(effect).any() and np.isfinite(mixed).any())
        odd = bool((effect < SUSPECT_EFFECT).any() or (mixed > SUSPECT_MIXING).any())
        if not odd and (not blank or self._samples >= CHECKS[1]):
            self._done = True
        if not learned:
            return {}  # the last look once more
        unmeasured = dict(learned.get("unmeasured", {}))
        if not np.isfinite(effect).any():
            unmeasured.setdefault(SIGNALS[0], "what the modules return is no tensor of finite numbers")
        if np.isinf(mixed).any():
            unmeasured.setdefault(SIGNALS[1], "two calls with the same input differ: random numbers of its own?")
        elif np.isnan(mixed).all():
            unmeasured.setdefault(SIGNALS[1], "what the modules return holds no entry a sample that changes with it")
        return {**learned, "unmeasured": unmeasured} if unmeasured else learned

    def detach(self) -> None:
        self._cuts, self._last = [], []

    # ------------------------------------------------------------------ inside

    def _sizes(self, batch: Batch) -> set[int]:
        """Numbers of samples that the loaders vouch for; fewer, in a last batch, where the target has one each."""
        told = [loader.batch_size for loader in self._scene.loaders()[0] if loader.batch_size]
        sizes = {*told, sum(told)} - {0}
        target = find_target(batch.batch)
        if target is not None and target.ndim == 1 and target.shape[0] < max(told, default=0):
            sizes.add(int(target.shape[0]))
        return sizes

    def _look(self) -> Values:
        inside = self._samples > CHECKS[0]
        made: list[tuple[Tensor, Tensor, Places | None]] = []
        calls: list[str] = []
        for cut in self._cuts:
            try:
                made.append(self._compared(cut, inside=inside))
                calls.append(cut.name)
            except Exception as error:
                fails = "" if isinstance(error, NotMeasurable) else f"{cut.name} fails when it is called again: "
                self._reason = self._reason or fails + (brief(error) if fails else str(error))
        if not made:
            nothing = np.array([np.nan])
            reason = self._reason or "the step called no module"
            self._learned = {"names": {"call": ("",)}, "unmeasured": dict.fromkeys(self.signals, reason)}
            return [(name, nothing) for name in SIGNALS]
        why_not = {SIGNALS[1]: self._reason} if self._reason else {}
        self._learned = {"names": {"call": tuple(calls)}, "unmeasured": why_not}
        values: Values = [
            (SIGNALS[0], torch.stack([effect for effect, _, _ in made])),
            (SIGNALS[1], torch.stack([mixed for _, mixed, _ in made])),
        ]
        layers = [found for _, _, found in made if found is not None]
        if layers:
            self._learned["names"]["layer"] = tuple(name for names, _, _ in layers for name in names)
            values += [(PLACES[0], torch.cat([lost for _, lost, _ in layers]))]
            values += [(PLACES[1], torch.cat([mixed for _, _, mixed in layers]))]
        return values

    def _compared(self, cut: Cut, *, inside: bool) -> tuple[Tensor, Tensor, Places | None]:
        """Effect and mixing of one call, and what its layers did where asked for."""
        with undisturbed(self._device), contextlib.ExitStack() as stack:
            module = isolated(cut.module)
            stack.enter_context(untouched(cut.module))
            layers = Layers(module, cut.name, cut.prefix, cut.rows, self._device) if inside else None
            order = list(range(cut.rows))
            first = _called(module, cut.changed(order))
            replaced = cut.changed([1, *order[1:]])
            if layers is not None:
                layers.compare()
            other = _called(module, replaced)
            if layers is not None:
                layers.remove()
            effect, mixed = input_effect(first, other), mixing(first, other, cut.rows)
            if inside:  # more than one sample must say so, and it must be the samples that make the difference
                again = input_effect(first, _called(module, cut.changed(order)))
                mixed = torch.where(again > 0, torch.inf, mixed)
                rolled = _called(module, cut.changed([*order[1:], 0]))
                effect = torch.maximum(effect, input_effect(first, rolled))
                if cut.rows > 2 and follows_batch(first, _called(module, cut.changed(order[:-1]))):
                    self._reason = PAIRS
                    mixed = torch.full_like(mixed, torch.nan)
            places = None if layers is None else (tuple(layers.names), layers.lost(), layers.mixed())
            return self._here(effect), self._here(mixed), places

    def _here(self, value: Tensor) -> Tensor:
        """A value on the run's own device; NaN for one that lies elsewhere (moving it would wait)."""
        return value if value.device == self._device else torch.full((), torch.nan, device=self._device)


def _called(module: nn.Module, given: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    """Call with the same random numbers each time: a sampled latent is then no difference."""
    torch.manual_seed(0)
    args, kwargs = given
    return module(*args, **kwargs)
