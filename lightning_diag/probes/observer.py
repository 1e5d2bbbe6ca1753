"""Finds predictions and targets of a batch without the user's help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_diag.observation import Observation
from lightning_diag.probes.batch_fields import LOGITS, OPTIONAL, PREDS, TARGET, as_mapping, find_target, named
from lightning_diag.probes.inert import Forwarding

KEPT_CALLS = 8
REDIRECTION = "_ForwardRedirection."  # what Lightning puts for `forward` where a strategy wraps the module (DDP, FSDP)

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


class Observer:
    """Watches the outermost module calls of a step and matches their outputs with the batch's targets.

    Order: the user's own ``observe`` callable; a dict returned by the step that holds the keys above; the captured
    outputs, last first, matched by shape with the target in an ``(x, y)`` or dict batch.

    Hooks sit on the module and its children only. A step that isn't armed pays two attribute reads a call and keeps
    references to the calls' arguments until the loss is known (they are what a non-finite loss is traced with). Inside
    a compiled region the hooks are compiled away: nothing is captured there.

    Args:
        module: the user's module.
        observe: ``observe(module, batch, outputs) -> Observation | None``.
    """

    def __init__(self, module: nn.Module, observe: Callable[[Any, Any, Any], Observation | None] | None = None) -> None:
        self.module = module
        self.observe = observe
        self.armed = False
        self.calls: list[Call] = []
        self._outputs: list[Any] = []
        self._depth = 0
        self._redirected = False  # the module's call under way is its training or validation step
        watched = [module, *(m for m in module.children() if not _is_metric(m))]
        self._handles = [m.register_forward_pre_hook(Forwarding(self._enter), with_kwargs=True) for m in watched]
        self._handles += [m.register_forward_hook(Forwarding(self._leave)) for m in watched]

    def start(self, armed: bool) -> None:
        """A batch begins; with ``armed`` the outputs are kept too."""
        self.armed = armed
        self._depth = 0
        self._redirected = False
        self.calls.clear()
        self._outputs.clear()

    def look(self, batch: Any, outputs: Any = None, *, scores: bool = True) -> Observation | None:
        """Return predictions and targets of the batch, or None when nothing fits. Drops what was captured.

        With ``scores=False`` captured outputs are never taken for scores of classes: they turned out to be none.

        Errors of the user's ``observe`` pass through.
        """
        captured = self._outputs[::-1]
        self.drop()
        if self.observe is not None:
            return self.observe(self.module, batch, outputs)
        found = _from_outputs(outputs)
        if found is not None:
            return found
        target = find_target(batch)
        if target is None:
            return None
        for labels in _shapes(target) if scores else ():
            for output in captured:
                for tensor in _tensors(output):
                    logits = as_logits(tensor, labels)
                    if logits is not None:
                        return Observation(target=labels, logits=logits.detach(), guessed=True, **_extras(batch))
        for output in captured:
            for tensor in _tensors(output):
                if tensor.shape == target.shape or tensor.squeeze(-1).shape == target.shape:
                    preds = tensor.detach().reshape(target.shape)
                    return Observation(target=target, preds=preds, guessed=True, **_extras(batch))
        return None

    def outputs(self) -> list[Tensor]:
        """Return the captured output tensors, last call first (detached), without dropping them."""
        return [t.detach() for output in self._outputs[::-1] for t in _tensors(output)]

    def drop(self) -> None:
        """Let go of everything captured."""
        self._outputs.clear()
        self.calls.clear()

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.drop()

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            return
        if module is self.module and getattr(module.forward, "__qualname__", "").startswith(REDIRECTION):
            self._redirected = True
            return
        self._depth += 1
        if self._depth == 1 and len(self.calls) < KEPT_CALLS:
            self.calls.append((module, args, kwargs))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if self._redirected and self._depth == 0 and module is self.module:
            self._redirected = False
            return
        self._depth -= 1
        if self.armed and self._depth <= 0 and len(self._outputs) < KEPT_CALLS:
            self._outputs.append(output)


def _shapes(target: Tensor) -> list[Tensor]:
    """A target as it is, and without a last dimension of one, as tables of labels come: ``(B, 1)``."""
    return [target, target.squeeze(-1)] if target.ndim > 1 and target.shape[-1] == 1 else [target]


def are_tokens(given: Tensor | None, target: Tensor) -> bool:
    """Whether input and target are sequences of tokens, position by position: a language model's."""
    if given is None or given.is_floating_point() or target.is_floating_point():
        return False
    return given.shape == target.shape and target.ndim == 2 and target.shape[1] > 1


def as_logits(output: Tensor, target: Tensor) -> Tensor | None:
    """Return ``output`` as ``(B, K, *D)`` when it can be scores of classes for integer ``(B, *D)``, else None."""
    if target.is_floating_point() or target.dtype == torch.bool or target.is_complex():
        return None
    if not output.is_floating_point() or output.ndim != target.ndim + 1 or output.shape[:1] != target.shape[:1]:
        return None
    if output.shape[2:] == target.shape[1:] and output.shape[1] > 1:
        return output
    if output.shape[:-1] == target.shape and output.shape[-1] > 1:
        return output.movedim(-1, 1)
    return None


def _from_outputs(outputs: Any) -> Observation | None:
    if not isinstance(outputs, Mapping):
        return None
    logits, preds, target = named(outputs, LOGITS), named(outputs, PREDS), named(outputs, TARGET)
    if target is None or (logits is None and preds is None):
        return None
    target = target.detach()
    if logits is not None:
        logits = logits.detach()
        moved = as_logits(logits, target)
        logits = logits if moved is None else moved
    preds = None if preds is None else preds.detach()
    return Observation(target=target, logits=logits, preds=preds, **_extras(outputs))


def _extras(data: Any) -> dict[str, Any]:
    data = as_mapping(data)
    if data is None:
        return {}
    found: dict[str, Any] = {}
    for field, names in OPTIONAL.items():
        value = named(data, names)
        if value is not None:
            found[field] = value.detach()
    domain = data.get("domain")
    if isinstance(domain, str):
        found["domain"] = domain
    return found


def _tensors(output: Any) -> Iterator[Tensor]:
    """The floating-point tensors in what a module returned; ``logits`` first in a mapping."""
    if isinstance(output, Tensor):
        if output.is_floating_point() and output.ndim:
            yield output
    elif isinstance(output, Mapping):
        first = named(output, LOGITS)
        if first is not None:
            yield first
        for value in output.values():
            if value is not first:
                yield from _tensors(value)
    elif isinstance(output, (tuple, list)):
        for value in output[:4]:
            yield from _tensors(value)


def _is_metric(module: nn.Module) -> bool:
    return any(c.__module__.startswith("torchmetrics") for c in type(module).__mro__)
