"""What the first layers do with the inputs."""

from __future__ import annotations

from torch import nn


def normalizes_inputs(module: nn.Module) -> bool:
    """Whether a normalization or an embedding is among the first two layers that have parameters."""
    layers = [
        m
        for m in module.modules()
        if next(m.children(), None) is None and next(m.parameters(recurse=False), None) is not None
    ]
    return any("Norm" in type(m).__name__ or isinstance(m, nn.Embedding) for m in layers[:2])
