"""How a step is named to people: by its batch where that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_diag.reading import Reading


def taken(reading: Reading) -> dict[str, Any]:
    """Return step, epoch and batch of a reading as plain data, to be kept in a detector's state."""
    return {"step": reading.step, "epoch": reading.epoch, "batch": reading.batch_idx}


def at(place: Mapping[str, Any]) -> str:
    """Return the place as it stands in a message.

    >>> at({"step": 40, "epoch": 0, "batch": 39}), at({"step": 40, "epoch": 0, "batch": -1})
    ('step 40 (batch 39 of epoch 0)', 'step 40')
    """
    batch = f" (batch {place['batch']} of epoch {place['epoch']})" if place["batch"] >= 0 else ""
    return f"step {place['step']}{batch}"
