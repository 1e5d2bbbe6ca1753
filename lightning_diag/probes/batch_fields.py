"""Where inputs, targets and ids are in a batch, as far as that is unambiguous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

LOGITS = ("logits", "y_hat", "yhat", "output", "outputs", "scores", "out")
PREDS = ("preds", "pred", "prediction", "predictions")
TARGET = ("target", "targets", "label", "labels", "y", "y_true", "gt")
INPUT = ("input", "inputs", "x", "image", "images", "img", "pixel_values", "input_ids", "features", "data")
OPTIONAL = {
    "sample_loss": ("sample_loss", "losses", "loss_per_sample"),
    "domain": ("domain", "domains"),
    "sample_id": ("sample_id", "sample_ids", "id", "ids", "index", "idx"),
}
NO_INPUT = {*TARGET, *LOGITS, *PREDS, *(name for names in OPTIONAL.values() for name in names)}
SHOWN = 8  # names of a batch's parts that a reason holds at most


def find_target(batch: Any) -> Tensor | None:
    """Return the target of an ``(x, y, ...)`` or dict batch, or None.

    >>> import torch
    >>> x, y = torch.zeros(2, 3), torch.ones(2)
    >>> [find_target(b) is y for b in ((x, y), (x, y, 3), {"x": x, "Label": y}, (x, (y, None)), (x, (y, y)))]
    [True, True, True, True, False]
    """
    parts = as_mapping(batch)
    if parts is not None:
        return named(parts, TARGET)
    if isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) >= 2:
        second = batch[1]
        if isinstance(second, (tuple, list)):  # a target and its weights, where these are given at all
            there = [part for part in second if part is not None]
            second = there[0] if len(there) == 1 else None
        return second if isinstance(second, Tensor) else None
    return None


def find_input(batch: Any) -> Tensor | None:
    """Return the main input tensor of a batch, or None.

    Of a dict the one with an input's name, else the only tensor that can be one.

    >>> import torch
    >>> x, y = torch.zeros(2, 3), torch.ones(2)
    >>> [find_input(b) is x for b in ((x, y), {"X": x, "label": y}, {"continuous": x, "target": y}, {"a": x, "b": x})]
    [True, True, True, False]
    """
    if isinstance(batch, Tensor):
        return batch
    parts = as_mapping(batch)
    if parts is not None:
        found = named(parts, INPUT)
        if found is not None:
            return found
        others = [t for name, t in parts.items() if str(name).lower() not in NO_INPUT and isinstance(t, Tensor)]
        others = [t for t in others if t.ndim > 1 and t.numel()]
        return others[0] if len(others) == 1 else None
    if isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) >= 1:
        return find_input(batch[0])
    return None


def as_mapping(batch: Any) -> Mapping[Any, Any] | None:
    """Return a dict, data class or named tuple as name -> part; None for what has no names."""
    if isinstance(batch, Mapping):
        return batch
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return dict(zip(batch._fields, batch, strict=True))
    if is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in fields(batch)}
    return None


def named(data: Mapping[Any, Any], names: Sequence[str]) -> Tensor | None:
    """Return the first tensor under one of the names, in their order; capitals don't matter."""
    for name in names:
        value = data.get(name)
        if isinstance(value, Tensor):
            return value
    lower = {name.lower(): value for name, value in data.items() if isinstance(name, str) and isinstance(value, Tensor)}
    return next((lower[name] for name in names if name in lower), None)


def described(batch: Any) -> str:
    """Return what a batch is, in words for a reason.

    >>> import torch
    >>> described({"cont": torch.zeros(2, 3), "cat": 3}), described((torch.zeros(2), object())), described(object())
    ('a dict of cont, cat', 'a tuple of Tensor, object', 'of type object')
    """
    kind = type(batch).__name__
    parts = as_mapping(batch)
    if parts is not None:
        inside = [str(name)[:30] for name in parts]
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        inside = [type(part).__name__ for part in batch[:SHOWN]]
    else:
        return f"of type {kind}"
    more = ", ..." if len(inside) > SHOWN else ""
    return f"a {kind} of {', '.join(inside[:SHOWN]) or 'nothing'}{more}"
