"""Which module's hook calls what of the recorder, and which modules need care."""

from __future__ import annotations

from torch import nn

from lightning_diag.probes.activation_hooks import See
from lightning_diag.probes.activation_kinds import Site, layers
from lightning_diag.probes.activation_recorder import Recorder


def wiring(recorder: Recorder, root: nn.Module) -> list[tuple[nn.Module, See]]:
    """Return every module that gets a hook, and what the hook calls.

    Every linear and convolution layer has one, with or without sites at its ends: the layer called last says what the
    units behind it are.
    """
    wired: list[tuple[nn.Module, See]] = []
    ends: dict[int, tuple[nn.Module, list[int | None]]] = {id(m): (m, [None, None]) for m in layers(root)}
    for index, site in enumerate(recorder.sites):
        if site.role in ("input", "output"):
            ends[id(site.module)][1][site.role == "output"] = index
        else:
            wired.append((site.module, _see(recorder, index, site)))
            wired += [(part, _see_part(recorder)) for part in site.parts]
    return wired + [(module, _see_layer(recorder, came, went)) for module, (came, went) in ends.values()]


def compiled_modules(root: nn.Module) -> set[int]:
    """Return ids of the modules within one that ``torch.compile`` or ``module.compile()`` was called on."""
    tops = [
        m
        for m in root.modules()
        if type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) is not None
    ]
    return {id(m) for top in tops for m in top.modules()}


def _see(r: Recorder, index: int, site: Site) -> See:
    if site.role == "norm":
        return lambda m, a, k, out: r.norm(index, m, out)
    if site.role == "recurrent":
        return lambda m, a, k, out: r.recurrent(index, m, out)
    if site.role == "attention" and not site.parts:
        return lambda m, a, k, out: r.multihead(index, m, a, k, out)  # type: ignore[arg-type]
    if site.role == "attention":
        return lambda m, a, k, out: r.written_attention(index, out)
    if site.role == "softmax":
        return lambda m, a, k, out: r.softmax(index, m, a, out)  # type: ignore[arg-type]
    return lambda m, a, k, out: r.activation(index, a, out)


def _see_part(r: Recorder) -> See:
    return lambda m, a, k, out: r.part(m, out)


def _see_layer(r: Recorder, came: int | None, went: int | None) -> See:
    return lambda m, a, k, out: r.layer(came, went, m, a, out)
