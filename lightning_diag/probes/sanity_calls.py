"""Calls of the user's modules, cut down to a few samples so that they can be made again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_diag.errors import NotMeasurable
from lightning_diag.probes.batch_fields import find_target
from lightning_diag.probes.observer import Call
from lightning_diag.probes.parameters import clean_name

CALLS = 4  # of a step that are kept
ROWS = 4  # samples of each

Kept = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Cut:
    """One call, with its first samples only.

    Attributes:
        name: of the module that was called; its class where it is the user's own module.
        prefix: its name; empty for the user's own module.
        module: the module.
        given: its arguments, tensors of samples cut to ``rows`` and copied.
        rows: how many samples they hold.
        fixed: ids of tensors in ``given`` that are the batch's target, where the inputs are others.
    """

    name: str
    prefix: str
    module: nn.Module
    given: Kept
    rows: int
    fixed: frozenset[int]

    def changed(self, order: Sequence[int]) -> Kept:
        """Return the arguments with these samples, in this order; targets keep theirs."""

        def pick(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0 or tensor.shape[0] != self.rows:
                return tensor
            if id(tensor) in self.fixed:
                return tensor[: len(order)]
            return torch.stack([tensor[i] for i in order])  # indexing with a list would wait for the device

        args, kwargs = mapped(self.given, pick)
        return args, kwargs


def cut_calls(root: nn.Module, calls: Sequence[Call], batch: Any, sizes: Collection[int]) -> list[Cut]:
    """Return the calls that can be made again with fewer samples, each module once.

    Args:
        root: the user's module.
        calls: outermost calls of the step.
        batch: what the loader gave.
        sizes: numbers of samples that a batch may have by what its loader says: a first dimension of another size, or
            one nobody vouches for, may be time, nodes of a graph or instances of a bag.

    Raises:
        NotMeasurable: there is none, and why.
    """
    if not sizes:
        raise NotMeasurable("the loader doesn't say how many samples a batch has")
    names = {id(m): clean_name(n) for n, m in root.named_modules()}
    target = find_target(batch)
    made: dict[int, Cut] = {}
    reason = "the step calls no module that has parameters"
    for module, args, kwargs in calls:
        if id(module) in made or next(module.parameters(), None) is None:
            continue
        try:
            made[id(module)] = _cut(names.get(id(module), ""), module, (args, kwargs), target, sizes)
        except NotMeasurable as why:
            reason = str(why)
        if len(made) == CALLS:
            break
    if not made:
        raise NotMeasurable(reason)
    return list(made.values())


def _cut(prefix: str, module: nn.Module, given: Kept, target: Tensor | None, sizes: Collection[int]) -> Cut:
    name = prefix or type(module).__name__
    found = [t for t in tensors_in(given) if t.ndim]
    counts = {t.shape[0] for t in found if t.shape[0] in sizes}
    if len(counts) != 1:
        raise NotMeasurable(f"{name} is called with no argument that holds one entry a sample")
    size = counts.pop()
    if size < 2:
        raise NotMeasurable("a batch has one sample only")
    for tensor in found:
        whole = not tensor.is_floating_point() and tensor.dtype != torch.bool
        if tensor.shape[0] != size and tensor.ndim > 1 and whole:
            raise NotMeasurable(f"{name} is called with indices that are no samples (edges of a graph?)")
        if tensor.ndim == 2 and tuple(tensor.shape) == (size, size) and len(found) > 1:
            raise NotMeasurable(f"{name} is called with a table of {size} x {size} beside its samples")
    rows = min(ROWS, size)
    like = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)

    def few(tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        if tensor.ndim and tensor.shape[0] == size:
            tensor = tensor[:rows]
        # under autocast a module may be called with bfloat16 although its weights are float32
        return tensor.to(like, copy=True) if like and tensor.is_floating_point() else tensor.clone()

    fixed: set[int] = set()
    others = any(t is not target for t in found if t.shape[0] == size)

    def keep(tensor: Tensor) -> Tensor:
        small = few(tensor)
        if others and tensor is target:
            fixed.add(id(small))
        return small

    args, kwargs = mapped(given, keep)
    return Cut(name, prefix, module, (args, kwargs), rows, frozenset(fixed))


def tensors_in(data: Any, depth: int = 4) -> Iterator[Tensor]:
    """Yield the tensors in nested containers."""
    if isinstance(data, Tensor):
        yield data
    elif depth and isinstance(data, Mapping):
        for value in data.values():
            yield from tensors_in(value, depth - 1)
    elif depth and isinstance(data, (tuple, list)):
        for value in data:
            yield from tensors_in(value, depth - 1)


def mapped(data: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return nested plain dicts, lists and tuples with every tensor changed; anything else as it is.

    Raises:
        NotMeasurable: a container of the user's own holds tensors, and can't be taken apart.
    """
    if isinstance(data, Tensor):
        return change(data)
    if type(data) is dict:
        return {key: mapped(value, change) for key, value in data.items()}
    if type(data) in (list, tuple):
        return type(data)(mapped(value, change) for value in data)
    if isinstance(data, tuple) and hasattr(data, "_fields") and type(data).__module__ != "torch.nn.utils.rnn":
        return type(data)(*(mapped(value, change) for value in data))
    if data is None or isinstance(data, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return data
    raise NotMeasurable(f"an argument is a {type(data).__name__}, which can't be taken apart by samples")
