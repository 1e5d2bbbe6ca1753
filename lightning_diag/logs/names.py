"""Which column of a log is which signal: the usual names, or the user's own word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lightning_diag.errors import ConfigurationError

# signal -> usual names, the best first: a value of one step before the mean of an epoch
_TRAIN = ("train", "training", "trn", "tr")
_VAL = ("val", "valid", "validation", "dev", "eval")
_ACCURACY = ("accuracy", "acc", "top1", "acc1", "multiclassaccuracy", "binaryaccuracy")
_GRAD = ("grad_norm", "gradient_norm", "grad_2.0_norm_total", "grad_2_norm_total", "grad_norm_total", "total_grad_norm")


def _split(parts: Iterable[str], what: Iterable[str], ends: tuple[str, ...]) -> tuple[str, ...]:
    words = list(what)
    pairs = [name for part in parts for word in words for name in (f"{part}_{word}", f"{word}_{part}")]
    return tuple(f"{pair}{end}" for end in ends for pair in pairs)


USUAL: dict[str, tuple[str, ...]] = {
    "loss/train": (
        *_split(_TRAIN, ("loss",), ("_step", "")),
        "loss_step",
        "train_step_loss",
        "train_total_loss",
        "train_loss_total",
        "loss",
        "diag_loss_train",
        *_split(_TRAIN, ("loss",), ("_epoch",)),
        "loss_epoch",
    ),
    "loss/val": (*_split(_VAL, ("loss",), ("", "_epoch")), "val_total_loss", "diag_loss_val"),
    "accuracy/train": _split(_TRAIN, _ACCURACY, ("_epoch", "", "_step")),
    "accuracy/val": (*_split(_VAL, _ACCURACY, ("", "_epoch")), "diag_accuracy_val"),
    "grad/norm": (*_GRAD, *(f"train_{name}" for name in _GRAD), "diag_grad_norm"),
    "lr": ("lr", "learning_rate", "train_lr", "train_learning_rate", "lr_0", "diag_lr_max"),
}
STAGE = {"loss/val": "validation", "accuracy/val": "validation"}  # the others belong to training
_MONITORED_LR = re.compile(r"lr-(?!.*momentum)(?!.*weight_decay).+")  # LearningRateMonitor: lr-Adam, lr-Adam/pg2


def match(columns: Iterable[str], wanted: Mapping[str, str] | None = None) -> dict[str, tuple[str, ...]]:
    """Return signal -> its columns (several only for learning rates).

    Names are compared without case, and with ``/``, ``-``, ``.`` and blanks read as ``_``.

    Args:
        columns: columns that hold numbers.
        wanted: signal -> column, the user's own word.

    Raises:
        ConfigurationError: ``wanted`` names another signal or a column that isn't there.

    >>> match(["epoch", "train_loss_epoch", "train_loss_step", "val/Loss", "lr-Adam/pg1", "lr-Adam/pg2"])
    {'loss/train': ('train_loss_step',), 'loss/val': ('val/Loss',), 'lr': ('lr-Adam/pg1', 'lr-Adam/pg2')}
    >>> match(["nll", "loss"], {"loss/train": "nll"})
    {'loss/train': ('nll',)}
    """
    there = list(dict.fromkeys(columns))
    spelled: dict[str, str] = {}
    for column in there:
        spelled.setdefault(_plain(column), column)
    found: dict[str, tuple[str, ...]] = {}
    for signal, names in USUAL.items():
        if signal == "lr":
            rates = tuple(column for column in there if _MONITORED_LR.fullmatch(column))
            if rates:
                found[signal] = rates
                continue
        first = next((spelled[_plain(name)] for name in names if _plain(name) in spelled), None)
        if first is not None:
            found[signal] = (first,)
    for signal, column in (wanted or {}).items():
        if signal not in USUAL:
            raise ConfigurationError(f"names={signal!r}: a log's column can be one of {sorted(USUAL)}")
        if column not in there:
            raise ConfigurationError(f"names={signal}={column}: the log has no such column; it has {_listed(there)}")
        found[signal] = (column,)
    return found


def _listed(columns: Iterable[str], shown: int = 30) -> str:
    names = sorted(columns)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more if names else "none with numbers"


def _plain(name: str) -> str:
    return re.sub(r"[/\-. ]+", "_", name.strip().lower())
