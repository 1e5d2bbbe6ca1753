"""A copy of a module to try things on, and a context in which trying them leaves no trace."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils.data import DataLoader, Dataset

from lightning_diag.errors import NotMeasurable

LIMIT_BYTES = 512 * 2**20  # what a module may hold for a copy of it to be made beside it
HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip
SHARED = ("Trainer", "LightningDataModule")  # by name: this room knows no Lightning


def isolated(module: nn.Module, limit_bytes: int = LIMIT_BYTES) -> nn.Module:
    """Return a copy in evaluation mode that shares no tensor, and no hook of anybody's, with the module.

    Attributes are copied too, whatever they hold (a counter, a cache, a random generator), but for data sets and
    loaders. Hooks are dropped, but for those of ``torch.nn.utils`` that make the weights (weight norm, pruning).

    Raises:
        NotMeasurable: it can't be copied, is larger than ``limit_bytes``, or hooks on all modules would see the copy.
    """
    module = getattr(module, "_orig_mod", module)  # torch.compile: the copy runs uncompiled
    if any(getattr(torch_module, f"_global{kind}", None) for kind in ("_forward_hooks", "_forward_pre_hooks")):
        raise NotMeasurable("a hook on all modules would see calls that aren't the run's")
    held = sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
    if held > limit_bytes:
        raise NotMeasurable(
            f"the module holds {held / 2**20:.0f} MB, and it is copied up to {limit_bytes / 2**20:.0f} MB only"
        )
    try:
        made: nn.Module = copy.deepcopy(module, _kept(module))
    except Exception as error:
        raise NotMeasurable(f"{type(module).__name__} can't be copied: {brief(error)}") from None
    for part in made.modules():
        for name in HOOKS:
            hooks: dict[int, Any] = getattr(part, name, None) or {}
            for key in [key for key, hook in hooks.items() if not _makes_weights(hook)]:
                del hooks[key]
    return made.eval()


@contextlib.contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Run without gradients, with nothing printed, and with every global random stream put back afterwards.

    Raises:
        NotMeasurable: the device is one whose random stream can't be put back.
    """
    if device.type not in ("cpu", "cuda"):
        raise NotMeasurable(f"random numbers of a {device.type} device can't be put back")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's own stream
    devices = [device] if device.type == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices=devices),
            torch.no_grad(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Let nothing call the module itself: a forward pass replaced by a function keeps the original in its closure.

    Raises:
        NotMeasurable: something did, before it could change anything.
    """

    def refuse(*_: Any) -> None:
        raise NotMeasurable(
            f"a copy of {type(module).__name__} still calls the original: its forward pass was replaced"
        )

    handles = [part.register_forward_pre_hook(refuse) for part in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def brief(error: BaseException) -> str:
    """Return what an exception says, in one short line.

    >>> brief(ValueError("a" * 500))[:20], len(brief(ValueError("a" * 500)))
    ('ValueError: aaaaaaaa', 152)
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:137]}{'...' if len(text) > 137 else ''}"


def _kept(module: nn.Module) -> dict[int, Any]:
    """What a deep copy takes as it is: data sets, and tensors with a history, which can't be copied otherwise."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()
            elif isinstance(value, (Dataset, DataLoader)) or type(value).__name__ in SHARED:
                memo[id(value)] = value
    return memo


def _makes_weights(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils")
