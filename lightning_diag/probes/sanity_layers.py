"""Which layer loses the input, and in which one samples mix: inputs and outputs of every layer, of two calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_diag.probes.parameters import clean_name, is_norm
from lightning_diag.probes.sanity_calls import tensors_in

Sides = tuple[list[Tensor], list[Tensor]]


class Layers:
    """Notes what goes into and comes out of every layer of a copy, in the order in which they finish.

    Inner layers finish before those that hold them, so the first that answers is the innermost. A layer's first call
    counts.

    Args:
        module: the copy that is called, once before :meth:`compare` and once after.
        name: what it is called.
        prefix: its name in the user's module; empty for that itself.
        rows: samples of a call; only the first of them differs between the two.
        device: where the codes are made.

    Attributes:
        names: of the layers, in the order in which they finished.
    """

    def __init__(self, module: nn.Module, name: str, prefix: str, rows: int, device: torch.device) -> None:
        self.names: list[str] = []
        self._norms: set[str] = set()
        self._rows, self._device = rows, device
        self._first: dict[str, Sides] = {}
        self._second: dict[str, Sides] = {}
        self._now = self._first
        self._handles: list[RemovableHandle] = []
        for inner, part in module.named_modules():
            full = ".".join(n for n in (prefix, clean_name(inner)) if n) or name
            self._handles.append(part.register_forward_hook(self._note(full, is_norm(part)), with_kwargs=True))

    def compare(self) -> None:
        """The first call is over."""
        self._now = self._second

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()

    def lost(self) -> Tensor:
        """Return a code for each layer, ``(L,)``: 1 inputs of sample 0 changed and outputs didn't, 2 inputs didn't."""
        return self._codes(slice(0, 1), lambda name, came, left: torch.where(came, torch.where(left, 0.0, 1.0), 2.0))

    def mixed(self) -> Tensor:
        """Return a code for each layer, ``(L,)``: 1 outputs of other samples changed, inputs didn't; 2 both did.

        3 is 1 in a normalization.
        """

        def code(name: str, came: Tensor, left: Tensor) -> Tensor:
            return torch.where(left, torch.where(came, 2.0, 3.0 if name in self._norms else 1.0), 0.0)

        return self._codes(slice(1, None), code)

    def _codes(self, part: slice, code: Callable[[str, Tensor, Tensor], Tensor]) -> Tensor:
        unknown = torch.full((), torch.nan, device=self._device)
        made: list[Tensor] = []
        for name in self.names:
            came, left = (self._changed(name, side, part) for side in (0, 1))
            found = unknown if came is None or left is None else code(name, came, left)
            made.append(found if found.device == unknown.device else unknown)
        return torch.stack(made)

    def _changed(self, name: str, side: int, part: slice) -> Tensor | None:
        """Whether samples of a layer's input (0) or output (1) changed; None where it has no entry a sample."""
        if name not in self._second:
            return None
        pairs = [
            (a[part], b[part])
            for a, b in zip(self._first[name][side], self._second[name][side], strict=False)
            if a.ndim and a.shape == b.shape and a.shape[0] == self._rows
        ]
        return torch.stack([(a != b).any() for a, b in pairs]).any() if pairs else None

    def _note(self, name: str, norm: bool) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if name in self._now:
                return
            if self._now is self._first:
                self.names.append(name)
                if norm:
                    self._norms.add(name)
            self._now[name] = _copies((args, kwargs)), _copies(output)

        return hook


def _copies(data: Any) -> list[Tensor]:
    """Copies: a layer that works in place overwrites its own input."""
    return [t.detach().clone() for t in tensors_in(data)]
