"""Where the first non-finite loss came from. Runs at most once a fit, on the CPU only (elsewhere it would wait)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_diag._transfer import is_finite_now
from lightning_diag.probes.base import Values
from lightning_diag.probes.observer import Call
from lightning_diag.probes.parameters import TrainedParameters, clean_name
from lightning_diag.probes.shards import shard_of

NO_REPLAY = "the first module to make a non-finite value is not looked for under several processes"


def traced(
    module: nn.Module, parameters: TrainedParameters, batch: Any, calls: Sequence[Call] | None
) -> tuple[Values, dict[str, Any]]:
    """Return the signals ``origin/*`` of a batch with a non-finite loss, and what the host learns of the run.

    Args:
        module: the user's module.
        parameters: its trainable parameters.
        batch: the batch.
        calls: the outermost module calls it made; None = they must not be replayed (other processes would be waited
            for: sharded weights, synchronized batch norm).
    """
    inputs, bad = bad_inputs(batch)
    weights = bad_weights(parameters.tensors)
    names = {"input": inputs, "parameter": parameters.names}
    values: Values = [("origin/input", bad), ("origin/weight", weights)] if len(inputs) else []
    if bad.any() or weights.any():
        return values, {"names": names}
    if calls is None:
        return values, {"names": names, "unmeasured": {"origin/module": NO_REPLAY}}
    guilty, made = first_bad_module(module, list(calls))
    names["submodule"] = (guilty,) if guilty else ()
    values.append(("origin/module", np.full(len(names["submodule"]), float(made))))
    return values, {"names": names}


def named_tensors(data: Any, name: str = "batch", depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """Yield ``(name, tensor)`` of every floating-point tensor in nested containers."""
    if isinstance(data, Tensor):
        if data.is_floating_point():
            yield name, data
    elif depth and isinstance(data, Mapping):
        for key, value in data.items():
            yield from named_tensors(value, f"{name}[{key!r}]", depth - 1)
    elif depth and isinstance(data, (tuple, list)):
        for i, value in enumerate(data):
            yield from named_tensors(value, f"{name}[{i}]", depth - 1)


def bad_inputs(batch: Any) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return names of the batch's tensors and 1 where one holds a non-finite value."""
    found = [(name, is_finite_now(tensor)) for name, tensor in named_tensors(batch)]
    return tuple(n for n, _ in found), np.array([float(finite is False) for _, finite in found])


def bad_weights(parameters: Sequence[Tensor]) -> NDArray[np.float64]:
    """Return 1 per parameter that holds a non-finite value, shape ``(P,)``."""
    return np.array([float(is_finite_now(shard_of(p.detach())) is False) for p in parameters])


def first_bad_module(root: nn.Module, calls: Sequence[Call]) -> tuple[str | None, bool]:
    """Replay the captured outermost calls; return the first module with a non-finite output, and whether it made it.

    One that was given a value which is not finite did not make it, nor did a module: what stands around it did.

    The replay runs without gradients, under a forked random generator and on copies of all buffers, so the user's run
    is as it was; dropout masks are drawn anew. Returns None when no module has one: then the loss function itself made
    it, or the replay did not reproduce it.
    """
    names = {id(m): clean_name(n) for n, m in root.named_modules() if n}
    guilty: list[tuple[str, bool]] = []

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not guilty and not _all_finite(output):
            guilty.append((names[id(module)], _all_finite((args, kwargs))))

    # copies for the replay: writing a buffer's own values back would still make the user's backward pass fail
    held = [(m, name, b) for m in root.modules() for name, b in m._buffers.items() if b is not None]
    copies = {id(b): b.detach().clone() for _, _, b in held}
    handles = [m.register_forward_hook(look, with_kwargs=True) for m in root.modules() if id(m) in names]
    try:
        for owner, name, buffer in held:
            owner._buffers[name] = copies[id(buffer)]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for module, args, kwargs in calls:
                module(*args, **kwargs)
                if guilty:
                    break
    finally:
        for handle in handles:
            handle.remove()
        for owner, name, buffer in held:
            owner._buffers[name] = buffer
    return guilty[0] if guilty else (None, False)


def _all_finite(data: Any) -> bool:
    return all(is_finite_now(tensor) is not False for _, tensor in named_tensors(data))
