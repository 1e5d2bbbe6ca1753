"""Batches that hold one batch of each loader, by its name (a ``CombinedLoader`` over a dict)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes.batch_fields import find_target
from lightning_diag.probes.observer import as_logits


def parts(batch: Any, captured: Sequence[Tensor], names: Collection[str]) -> list[tuple[str, Any, Observation]]:
    """Return ``(name, sub-batch, observation)`` of each loader's part; empty where that can't be told.

    Outputs were captured last first. They are given to the parts in the order of the batch, one call a part: where the
    number of fitting calls is another one (the user concatenates the parts, say), nothing is guessed.
    """
    if not isinstance(batch, Mapping) or len(batch) < 2 or not all(key in names for key in batch):
        return []
    held = {name: part for name, part in batch.items() if part is not None}
    targets = {name: find_target(part) for name, part in held.items()}
    outputs = list(captured)[::-1]
    if len(outputs) != len(held):
        return []
    made = []
    for (name, part), output in zip(held.items(), outputs, strict=True):
        target = targets[name]
        logits = None if target is None else as_logits(output, target)
        if target is None or logits is None:
            return []
        made.append((str(name), part, Observation(target=target, logits=logits.detach())))
    return made
