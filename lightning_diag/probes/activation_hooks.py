"""Forward hooks that can't hurt: they never raise, never follow a copy of the module, and vanish under compile.

Inside a compiled region nothing is measured. It could be: with torch 2.13 on six Linear-ReLU pairs, a body that writes
into a preallocated buffer under a plain flag gives two cached graphs and no graph break. But it triples the time to
compile (inductor: 24 s instead of 8 s) and, with ``backend="eager"`` and non-reentrant checkpointing, makes the user's
backward raise. A hook that returns at once under :func:`torch.compiler.is_compiling` leaves one graph with the same
operations and costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_diag.probes.inert import Inert

See = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]

_graph_task: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: -1)
_functorch: Callable[[Tensor], bool] = getattr(
    getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", lambda tensor: False
)


class Switch:
    """Whether hooks look at what passes, and what went wrong when they did."""

    def __init__(self) -> None:
        self.on = False
        self.error: Exception | None = None
        self.spent_s = 0.0  # seconds of the hooks within the user's forward


class Hook(Inert):
    """One forward hook: calls ``see`` in a training call on a sampled step, and only there.

    Left out are recomputation in backward (activation checkpointing would count twice), modules in eval mode (a
    teacher's or a validation pass), and compiled regions. What ``see`` raises is kept in the switch, which goes off.
    """

    def __init__(self, switch: Switch, see: See) -> None:
        self.switch = switch
        self.see = see
        self._key = RemovableHandle(OrderedDict()).id  # a number that no other hook has

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Look at one call, or return at once."""
        # the order matters: under compile nothing of ours may be read, or flipping the flag would recompile
        if torch.compiler.is_compiling() or not self.switch.on:
            return
        if not module.training or _graph_task() != -1:
            return
        start = perf_counter()
        try:
            self.see(module, args, kwargs, output)  # of detached tensors, so no graph is built
        except Exception as error:
            self.switch.on = False
            self.switch.error = error
        self.switch.spent_s += perf_counter() - start

    def attach(self, module: nn.Module) -> RemovableHandle:
        """Register it on a module."""
        return module.register_forward_hook(self, with_kwargs=True)

    def hang(self, module: nn.Module) -> None:
        """Register it on a module for one step: without a handle that is a quarter of the work."""
        module._forward_hooks[self._key] = self
        module._forward_hooks_with_kwargs[self._key] = True

    def take_off(self, module: nn.Module) -> None:
        """Take it off again."""
        module._forward_hooks.pop(self._key, None)
        module._forward_hooks_with_kwargs.pop(self._key, None)


def first_tensor(data: Any) -> Tensor | None:
    """Return the first tensor that can be measured in what a module took or gave, or None."""
    if isinstance(data, Tensor):
        return measurable(data)
    if isinstance(data, nn.utils.rnn.PackedSequence):
        return measurable(data.data)
    if isinstance(data, (tuple, list)):
        return first_tensor(data[0]) if data else None
    if isinstance(data, dict):
        return next((t for t in map(first_tensor, data.values()) if t is not None), None)
    return None


def measurable(tensor: Tensor) -> Tensor | None:
    """Return a plain detached view of a tensor whose values can be read here, else None.

    Not sharded ones (a local shard isn't the output), nested, sparse or integer ones, nor those of ``vmap`` and of a
    CUDA graph under capture.
    """
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_nested:
        return None
    plain = type(tensor) is Tensor
    if tensor.ndim == 0 or tensor.numel() == 0 or _functorch(tensor) or (not plain and hasattr(tensor, "to_local")):
        return None
    if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
        return None
    tensor = tensor.detach()
    return tensor if plain else tensor.as_subclass(Tensor)
