"""What the user chose: scalars of the module's ``hparams`` and of the optimizers, for the record's head."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lightning_diag._guard import Guard

MAX_ENTRIES = 200
MAX_TEXT = 32  # a choice has a short name; what is longer may be anything
# names that may stand before what nobody else should read
_PRIVATE = re.compile(
    r"key|token|secret|passw|auth|cred|user|mail|account|dsn|ur[il]|path|dir|file|host", re.IGNORECASE
)


def hyperparameters(module: nn.Module, optimizers: Sequence[Optimizer], guard: Guard) -> dict[str, Any]:
    """Return name -> number, boolean, None or short word; everything else is left out.

    Strings under a name that sounds private (``token``, ``user``, ``path`` ...) are left out, too.

    Args:
        module: a LightningModule; what ``save_hyperparameters`` kept is read, nothing else.
        optimizers: their defaults are named ``<class>.<argument>``, with a number before it from the second of a class.

        guard: where it ends when the user's own container raises.

    >>> import torch
    >>> module = nn.Linear(1, 1)
    >>> module.hparams = {"depth": 3, "api_key": "abc", "net": {"act": "relu"}, "note": "x" * 99}
    >>> hyperparameters(module, [torch.optim.SGD(module.parameters(), lr=0.5)], Guard())["SGD.lr"]
    0.5
    >>> hyperparameters(module, [], Guard())
    {'depth': 3, 'net.act': 'relu'}
    """
    found: dict[str, Any] = {}
    try:
        given = getattr(module, "hparams", None)
        if isinstance(given, Mapping):
            _flatten("", given, found)
    except Exception as error:
        guard.tell("the record of hyper-parameters", error)
    seen: dict[str, int] = {}
    for optimizer in optimizers:
        name = type(optimizer).__name__
        seen[name] = seen.get(name, 0) + 1
        _flatten(name if seen[name] == 1 else f"{name}{seen[name]}", optimizer.defaults, found)
    return dict(list(found.items())[:MAX_ENTRIES])


def _flatten(prefix: str, values: Mapping[Any, Any], found: dict[str, Any]) -> None:
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            if name.count(".") < 4:  # deeper trees are somebody's data
                _flatten(name, value, found)
        elif isinstance(value, (list, tuple)):
            if 0 < len(value) <= 4 and all(_plain(str(key), item) for item in value):
                found[name] = list(value)
        elif _plain(str(key), value):
            found[name] = value


def _plain(key: str, value: Any) -> bool:
    if value is None or type(value) in (bool, int, float):  # not a subclass: it may be anything
        return True
    return type(value) is str and len(value) <= MAX_TEXT and value.isprintable() and not _PRIVATE.search(key)
