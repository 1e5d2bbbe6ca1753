"""Dead, saturated, non-finite and collapsed activations, and how sharp attention is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lightning_diag._transfer import wait_for_all
from lightning_diag.probes import activation_attention as attention
from lightning_diag.probes import activation_kernels as kernels
from lightning_diag.probes.activation_hooks import Hook, Switch
from lightning_diag.probes.activation_kinds import Pattern, Site, checked, find_sites
from lightning_diag.probes.activation_memory import recall, remembered
from lightning_diag.probes.activation_recorder import Recorder
from lightning_diag.probes.activation_wiring import compiled_modules, wiring
from lightning_diag.probes.base import Batch, Probe, Scene, Values, moved
from lightning_diag.reading import Reading

PATIENCE = 3  # readings in which no hook fired before the user is told
DENSE = 64  # sampled steps after which attention, the dearest to measure and slow to change ...
SPARSE = 4  # ... is looked at in every so many of steps that follow one another
_SIGNALS = {
    "dead": "activation/dead_frac",
    "saturated": "activation/saturated_frac",
    "saturated_units": "activation/saturated_units_frac",
    "mean": "activation/mean",
    "std": "activation/std",
    "nonfinite": "activation/nonfinite_frac",
    "variation": "activation/variation",
    "entropy": "activation/attention_entropy",
    "sharpest": "activation/attention_entropy_min",
    "logit": "activation/attention_max_logit",
}
_NO_ATTENTION = (
    "no attention was found: nn.MultiheadAttention, nn.Softmax modules, or query and key layers and a head count"
)


class ActivationProbe(Probe):
    """Watches the outputs of nonlinearities, norms, recurrent and attention layers through forward hooks.

    Statistics come from a fixed strided sample of at most 8,192 elements an output (up to 256 units), so their
    cost doesn't grow with the model's width; a share of units has a standard error of at most 3 %. A *row* is one
    position of one sample. A unit is the last dimension behind a linear layer, dimension 1 behind a convolution; a
    convolution's unit is active in a sample if any of its sampled positions is. A unit is dead when no row of the last
    1,000 and no batch of the last 20 that were sampled showed it active: 50 % zeros or dropout never make one.

    Functional forms are seen where they arrive: inputs of linear and convolution layers that never are negative and
    sometimes exactly 0 went through a ReLU, values that never leave -1..1 through a tanh (also after pooling and, for
    the ReLU, dropout). Not seen: functional GELU, SiLU, sigmoid and softmax, and forms whose result meets no such
    layer.

    Where every step is sampled, attention is looked at in every fourth after the first 64.

    Not measurable inside ``torch.compile`` (the hooks are compiled away, see :mod:`.activation_hooks`), under reentrant
    checkpointing for functional forms, and for sharded outputs.

    Args:
        include: globs of module names or types, or module types; None = all that are of a kind worth watching.
        exclude: the same for modules to leave out.
    """

    signals = (*_SIGNALS.values(), "activation/window_samples", "activation/call_order")
    kept = ("_recorder",)

    def __init__(self, include: Sequence[Pattern] | None = None, exclude: Sequence[Pattern] | None = None) -> None:
        self.include = checked("include", include)
        self.exclude = checked("exclude", exclude)
        self.sites: list[Site] = []
        self._wired: list[tuple[nn.Module, Hook]] = []
        self._hung: list[tuple[nn.Module, Hook]] = []  # those of them that are on their modules

    def attach(self, scene: Scene) -> dict[str, str]:
        """Find the sites and hang the hooks."""
        self.detach()
        self._automatic = scene.automatic
        self._switch = Switch()
        self.sites, self.left_out = find_sites(scene.module, self.include, self.exclude)
        if not self.sites:
            return dict.fromkeys(
                self.signals, "no module to watch: no nonlinearity, norm, attention or recurrent layer"
            )
        self._layers = {id(m): name for name, m in scene.module.named_modules()}
        self._silent = 0
        self._batch_idx, self._turn, self._in_a_row = -1, -1, 0
        self._met = np.zeros(len(self.sites))  # readings in which each site was called
        device = next((p.device for p in scene.module.parameters()), torch.device("cpu"))
        self._recorder = Recorder(self.sites, device)
        self._attends = any(site.role in ("attention", "softmax") for site in self.sites)
        compiled = compiled_modules(scene.module)
        self._wired = [(m, Hook(self._switch, see)) for m, see in wiring(self._recorder, scene.module)]
        self._wired = [(m, hook) for m, hook in self._wired if id(m) not in compiled]
        if all(id(site.module) in compiled for site in self.sites):
            self._silent = PATIENCE  # told already
            return dict.fromkeys(
                self.signals, "activations inside a compiled region (torch.compile) are not measurable"
            )
        return {} if self._attends else dict.fromkeys([_SIGNALS[c] for c in attention.COLUMNS], _NO_ATTENTION)

    def facts(self) -> Mapping[str, Any]:
        """Name the sites."""
        return {"names": {"module": tuple(site.name for site in self.sites)}}

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        """Notice hooks that never fire, and stop watching inputs that no functional form has passed."""
        order, rows = reading.vector("activation/call_order"), reading.vector("activation/window_samples")
        dead, flat = reading.vector("activation/dead_frac"), reading.vector("activation/saturated_frac")
        if order is None or rows is None or dead is None or flat is None or len(order) != len(self.sites):
            return {}
        if self._silent < 0 or not np.isnan(order).all():
            self._silent = -1
            self._met += ~np.isnan(order)
            ripe = (self._met > 2 * kernels.DEAD_BATCHES) & (rows >= 2 * kernels.DEAD_ROWS)
            ripe &= np.isnan(dead) & np.isnan(flat)
            self._recorder.dropped |= {int(i) for i in np.flatnonzero(ripe) if self.sites[i].role == "input"}
            return {}
        self._silent += 1
        if self._silent != PATIENCE:
            return {}
        why = f"activations not observed: none of {len(self.sites)} hooks fired in {PATIENCE} sampled steps (is the "
        return {"unmeasured": dict.fromkeys(self.signals, f"{why}forward compiled, or are the modules never called?)")}

    def batch_start(self, batch: Batch) -> None:
        """Look at the forward pass that comes."""
        if not self.sites or self._switch.error is not None:
            return
        self._switch.on = True
        if self._turn != self._recorder.turn:  # the first micro-batch of its step
            self._turn = self._recorder.turn
            self._in_a_row = self._in_a_row + 1 if batch.batch_idx == self._batch_idx + 1 else 0
            self._recorder.attending = self._turn < DENSE or self._in_a_row % SPARSE == 0
        self._batch_idx = batch.batch_idx
        if not self._hung:
            self._hung = [wire for wire in self._wired if wire[0].training]
            for module, hook in self._hung:
                hook.hang(module)

    def loss(self, batch: Batch) -> None:
        """The forward pass is over."""
        if self.sites and self._automatic:  # by hand, more forward passes may follow a backward
            self._off()

    def collect(self) -> Values:
        """Measure what was sampled."""
        if not self.sites:
            return []
        self._off()
        if self._switch.error is not None:
            raise self._switch.error
        attending = self._recorder.attending
        stats, sharp, rows, order = self._recorder.finish()
        self._recorder.start()
        values: Values = [(_SIGNALS[c], column) for c, column in zip(kernels.COLUMNS, stats.unbind(1), strict=True)]
        if self._attends and attending:
            values += [(_SIGNALS[c], column) for c, column in zip(attention.COLUMNS, sharp.unbind(1), strict=True)]
        return [*values, ("activation/window_samples", rows), ("activation/call_order", order)]

    def validation_start(self) -> None:
        """Look away."""
        if self.sites:
            self._off()

    def took_s(self) -> float:
        """Return the seconds of the hooks since it was asked last."""
        spent, self._switch.spent_s = self._switch.spent_s, 0.0
        return spent

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered of the units; of sites that a resumed run has, too."""
        if not self.sites:
            return {}
        return {
            **remembered(self._recorder, self._layers),
            "silent": self._silent,
            "met": moved(self._met, torch.device("cpu")),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take it back, where the sites are the same."""
        if self.sites and recall(self._recorder, state, self._layers, device):
            self._silent, self._met = int(state["silent"]), wait_for_all({"met": state["met"]})["met"]

    def detach(self) -> None:
        """Remove the hooks."""
        self._remove()
        self._wired, self.sites = [], []

    def _off(self) -> None:
        """Stop looking, and remove the hooks: a module with a hook on it is called the slow way (5 us a call).

        In validation any hook would cost ``nn.TransformerEncoderLayer`` its fast path, and the loss its very bits.
        """
        self._switch.on = False
        self._remove()

    def _remove(self) -> None:
        for module, hook in self._hung:
            hook.take_off(module)
        self._hung = []
