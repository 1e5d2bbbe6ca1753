"""Whether validation asks the network in the way training does, so that their accuracies can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import find_input

LOADERS = ("kornia", "torchvision.transforms", "torchaudio.transforms")  # modules of these change inputs in training
RANDOM = ("droppath", "dropblock", "stochasticdepth", "augment", "mixup", "cutmix")  # so do modules called like this

State = tuple[int, int]


class ConditionsProbe(Probe):
    """Says at each validation pass whether training and validation ran alike since the pass before.

    Alike means: in each sampled training batch the network got the batch's own input, neither a changed copy (an
    augmentation inside the training step) nor changed in place; no module of it is random but for plain dropout, which
    stands in the facts; validation called no other outermost module (an average of the weights kept beside it); and no
    weight was exchanged during validation. Where an input is scaled inside both steps, nobody can tell: not alike.

    Only addresses and version counters are compared: no tensor is read.
    """

    signals = ("val/alike",)

    def attach(self, scene: Scene) -> dict[str, str]:
        self._plain = not any(_is_random(m) for m in scene.module.modules())
        weights = list(scene.module.parameters())
        self._watched = [weights[0], weights[-1]] if weights else []
        self._given: tuple[Tensor, State] | None = None
        self._batches = self._kept = 0
        self._called: set[int] = set()
        self._weights: list[State] = []
        self._same = True
        return {}

    def batch_start(self, batch: Batch) -> None:
        given = find_input(batch.batch)
        self._given = None if given is None else (given, _state(given))

    def loss(self, batch: Batch) -> None:
        if batch.observed:
            return
        given, self._given = self._given, None
        self._batches += 1
        self._called |= _called(batch)
        if given is not None and _state(given[0]) == given[1]:
            tensors = (t for _, *arguments in batch.calls for t in _tensors(arguments))
            self._kept += any(t.data_ptr() == given[1][0] and t.numel() == given[0].numel() for t in tensors)

    def validation_start(self) -> None:
        self._weights = [_state(p) for p in self._watched]
        self._same = True

    def validation_batch(self, batch: Batch) -> None:
        kept = [_state(p) for p in self._watched] == self._weights
        self._same = self._same and kept and _called(batch) <= self._called

    def validation_end(self, metrics: Mapping[str, Tensor]) -> Values:
        batches, kept, self._batches, self._kept = self._batches, self._kept, 0, 0
        if not batches:
            return []
        return [("val/alike", float(self._plain and self._same and kept == batches))]

    def detach(self) -> None:
        self._given, self._watched = None, []


def _state(tensor: Tensor) -> State:
    """Where it lies, and how often it was changed in place."""
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version


def _called(batch: Batch) -> set[int]:
    """Which outermost modules that have weights were called."""
    return {id(m) for m, _, _ in batch.calls if next(m.parameters(), None) is not None}


def _is_random(module: nn.Module) -> bool:
    kind = type(module)
    return kind.__module__.startswith(LOADERS) or any(word in kind.__name__.lower() for word in RANDOM)


def _tensors(arguments: Any) -> Iterator[Tensor]:
    if isinstance(arguments, Tensor):
        yield arguments
    elif isinstance(arguments, Mapping):
        yield from _tensors(list(arguments.values()))
    elif isinstance(arguments, (tuple, list)):
        for part in arguments:
            yield from _tensors(part)
