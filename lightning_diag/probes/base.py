"""The base of all probes: code that turns tensors into a few scalars on the device."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_diag.observation import Observation
from lightning_diag.probes.clock import Clock
from lightning_diag.probes.stage import Stage
from lightning_diag.reading import Facts, Reading

Values = list[tuple[str, Tensor | NDArray[Any] | float]]


@dataclass(frozen=True)
class Loader:
    """What a data loader says of the samples it gives; empty where it says nothing.

    Attributes:
        name: its key, where loaders are given as a dict.
        domain: its data set's own ``domain`` attribute, where that is a string.
        domain_names: its data set's ``domain_names``, in the order of integer domain ids.
        batch_size: samples a batch, where it says.
        replacement: whether its sampler draws with replacement, so that a sample may come twice.
        borrowed: whether it is the training loader in validation's place (``overfit_batches``).
    """

    name: str = ""
    domain: str = ""
    domain_names: tuple[str, ...] = ()
    replacement: bool = False
    borrowed: bool = False
    batch_size: int | None = None


@dataclass
class Scene:
    """What a probe is told when a run starts. Nothing in it is Lightning's but the module, which is an ``nn.Module``.

    Attributes:
        module: the user's module, unwrapped.
        optimizers: the torch optimizers, in the trainer's order.
        facts: what is known of the run.
        automatic: whether Lightning drives the optimizer.
        inverse_scale: returns the factor that unscales gradients an AMP scaler has scaled, as a tensor; None =
            unscaled.
        scale: returns the loss scale of an AMP scaler as a tensor, None before its first use; None = no scaler.
        observe: the user's own ``observe`` callable.
        loaders: returns the training and the validation loaders, as far as they exist by then.
        rank: which process this is. A checkpoint holds what the first one had: sums that are added up over all are its.
        replicated: whether processes that share no shards are meant to have equal weights after every step.
        rehearse: returns a copy of the module on which its training step can be run; raises NotMeasurable.
        clock: adds up how long batches are waited for.
        engine_norm: returns the global gradient norm of the step as the strategy's engine knows it; None = no engine.
    """

    module: nn.Module
    optimizers: Sequence[Optimizer]
    facts: Facts
    automatic: bool = True
    inverse_scale: Callable[[Optimizer], Tensor | None] = field(default=lambda optimizer: None)
    observe: Callable[[Any, Any, Any], Observation | None] | None = None
    scale: Callable[[], Tensor | None] | None = None
    loaders: Callable[[], tuple[tuple[Loader, ...], tuple[Loader, ...]]] = lambda: ((), ())
    engine_norm: Callable[[], Tensor | float | None] | None = None
    replicated: bool = True
    rehearse: Callable[[], Stage] | None = None
    rank: int = 0
    clock: Clock = field(default_factory=Clock)


@dataclass(slots=True)
class Batch:
    """One batch as it passes.

    Attributes:
        batch: what the loader gave.
        batch_idx: its index in the epoch.
        epoch: the epoch, in training.
        loader: index (validation) or name of its loader.
        loss: the undivided loss handed to backward, detached; None before it is known and in validation.
        number: the same as a number, instead of ``loss``, on a step that is not sampled and where reading it is free.
        outputs: what the step returned; None before.
        observation: predictions and targets, once they are known.
        captured: outputs of the outermost module calls, last first, while they are known.
        calls: these calls with their arguments, first first, while the loss is told, and in validation.
        keys: content keys of its samples in three parts, ``(B, 3)``, once a probe has worked them out.
        rows, parts, sums: its inputs in float64, what is added up of them, and that by class, once a probe has worked
            them out (:mod:`.data_inputs`).
        counted: whether its samples were counted: several losses may be made of one batch.
        observed: whether probes were shown its predictions and targets for an earlier of its losses: those that count
            samples leave it out then.
    """

    batch: Any
    batch_idx: int
    loader: int | str = 0
    loss: Tensor | None = None
    number: float | None = None
    outputs: Any = None
    observation: Observation | None = None
    captured: Sequence[Tensor] = ()
    calls: Sequence[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = ()
    keys: Tensor | None = None
    rows: Tensor | None = None
    parts: Tensor | None = None
    sums: Tensor | None = None
    counted: bool = False
    observed: bool = False
    epoch: int = 0


class Probe(ABC):  # noqa: B024 - every verb is optional, a probe writes those it needs
    """Measures on the device; never syncs, never changes a tensor of the user's, draws no random numbers.

    Order of one optimizer step: ``batch_start`` and ``loss`` for each micro-batch, ``before_update`` and
    ``after_update`` for each optimizer step in it, ``observed`` once predictions are known, ``collect`` at the end. All
    but those of a probe with ``every_step`` or ``some_steps`` are called on *sampled* steps only.

    Attributes:
        signals: the signals it can give.
        every_step: whether its train hooks are called at every step.
        some_steps: whether they are called also at steps that it or another such probe :meth:`wants`.
        kept: attributes that a resumed run needs: tensors, plain data, or dicts of these.
        configured: whether it holds a user's settings: it is then taken instead of another monitor's of its type.
    """

    signals: ClassVar[tuple[str, ...]] = ()
    every_step: ClassVar[bool] = False
    some_steps: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = ()
    configured: bool = False

    def attach(self, scene: Scene) -> dict[str, str]:
        """Get ready for a run; return signal -> reason for those that can't be measured here."""
        return {}

    def facts(self) -> Mapping[str, Any]:
        """Return fields of :class:`Facts` that this probe knows after :meth:`attach`."""
        return {}

    def learn(self, reading: Reading) -> Mapping[str, Any]:
        """Look at a host reading of its own signals; return fields of :class:`Facts` that became known."""
        return {}

    def wants(self) -> bool:
        """Whether it wants the coming batch and its predictions although the step isn't sampled."""
        return False

    def batch_start(self, batch: Batch) -> None:
        """A training batch is about to be used."""

    def derived(self) -> Mapping[str, Any]:
        """Return signals made on the host from what :meth:`learn` was shown, and forget them."""
        return {}

    def loss(self, batch: Batch) -> None:
        """The loss is known (``batch.loss`` or ``batch.number``), backward comes next."""

    def observed(self, batch: Batch) -> None:
        """Predictions and targets of the batch are known (``batch.observation``)."""

    def before_update(self, optimizer: int) -> None:
        """Gradients are complete, unscaled and not yet clipped; the optimizer is about to step."""

    def after_update(self, optimizer: int) -> None:
        """The optimizer has stepped; clipped gradients are still there."""

    def collect(self) -> Values:
        """Return what was measured in this step and forget it."""
        return []

    def validation_start(self) -> None:
        """A validation pass begins."""

    def validation_batch(self, batch: Batch) -> None:
        """A validation batch was used; ``outputs`` and ``observation`` are set where known."""

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        """The pass is over; ``metrics`` are the values the user logged. Return what was measured."""
        return []

    def took_s(self) -> float:
        """Return the seconds spent inside the user's own calls (forward hooks) since it was asked last."""
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on: copies on the CPU. Waits for the device, once a checkpoint."""
        return {name: moved(getattr(self, name), torch.device("cpu")) for name in self.kept}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take back a :meth:`state_dict` after :meth:`attach`; leaves its argument alone."""
        for name in self.kept:
            if name in state:
                setattr(self, name, moved(state[name], device))

    def detach(self) -> None:
        """The run is over: remove hooks, drop references."""


def moved(data: Any, device: torch.device) -> Any:
    """Return a copy of tensors, arrays and plain data, nested in dicts, lists and tuples, as tensors on ``device``."""
    if isinstance(data, Tensor):  # plain: a checkpoint with a class of the user's can't be loaded with weights_only
        return data.detach().as_subclass(Tensor).to(device, copy=True)
    if isinstance(data, (np.ndarray, np.generic)):  # nor one with an array of NumPy's
        return torch.from_numpy(np.array(data)).to(device)
    if isinstance(data, Mapping):
        return {key: moved(value, device) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(moved(value, device) for value in data)
    return data
