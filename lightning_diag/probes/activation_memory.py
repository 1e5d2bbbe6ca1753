"""What a recorder remembers of the units from one sampled step to the next, for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lightning_diag.probes.activation_kernels import Memory
from lightning_diag.probes.activation_recorder import Recorder
from lightning_diag.probes.activation_tracks import Track
from lightning_diag.probes.base import moved


def remembered(recorder: Recorder, layers: Mapping[int, str]) -> dict[str, Any]:
    """Return plain data and tensors on the CPU: at most 3 kB a site and layer, however wide it is.

    Args:
        recorder: what is remembered.
        layers: id -> name of every module: an id says nothing to another process.
    """
    return {
        "sites": [site.name for site in recorder.sites],
        "turn": recorder.turn,
        "hidden": sorted(recorder.hidden),
        "dropped": sorted(recorder.dropped),
        "tracks": [
            {
                "site": site,
                "layer": layers.get(layer),
                "rows": track.rows,
                "memory": moved([track.memory.units, track.memory.entry], torch.device("cpu")),
            }
            for (site, layer), track in recorder.tracks.items()
        ],
    }


def recall(recorder: Recorder, state: Mapping[str, Any], layers: Mapping[int, str], device: torch.device) -> bool:
    """Take back :func:`remembered`; returns False, and takes nothing, where the sites are others."""
    if list(state["sites"]) != [site.name for site in recorder.sites]:
        return False
    ids = {name: module for module, name in layers.items()}
    recorder.turn = int(state["turn"])
    recorder.hidden |= set(state["hidden"])
    recorder.dropped |= set(state["dropped"])
    for saved in state["tracks"]:
        site, layer = int(saved["site"]), saved["layer"]
        units, entry = moved(saved["memory"], device)
        track = Track(recorder.sites[site].curve, units.shape[2], device)
        track.memory, track.rows = Memory(units, entry), int(saved["rows"])
        recorder.tracks[site, 0 if layer is None else ids[layer]] = track
    return True
