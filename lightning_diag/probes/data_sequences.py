"""Sequence batches: how much of them is padding, and whether their samples differ at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_diag.probes import sequence_kernels as kernels
from lightning_diag.probes.base import Batch, Probe, Scene, Values
from lightning_diag.probes.batch_fields import as_mapping, find_input, named

MASKS = ("attention_mask", "input_mask", "token_mask")  # not 0 = a token
PADDED = ("key_padding_mask", "src_key_padding_mask")  # not 0 = padding, as torch's attention takes it
LENGTHS = ("lengths", "length", "input_lengths", "seq_lens", "seq_lengths", "sequence_lengths")
NONE, MASK, LENGTH, INDEX, TAIL = 0.0, 1.0, 2.0, 3.0, 4.0  # how padding was told
LOOKS = 3  # sampled steps without a sequence after which that isn't said any more


class Positions(NamedTuple):
    """Which positions of a batch hold something.

    Attributes:
        real: ``(B, T)`` bool.
        sure: whether that is known, ``()`` bool.
        source: one of the numbers above.
    """

    real: Tensor
    sure: Tensor
    source: float


class DataSequenceProbe(Probe):
    """Padding by a mask or lengths in the batch, an embedding's ``padding_idx``, or a constant tail; never guessed.

    A dozen comparisons of the tokens' size at sampled steps.
    """

    signals = (
        "data/padding_told_by", "data/padding_frac", "data/padding_beyond_frac", "data/sequence_length",
        "data/alike_frac",
    )  # fmt: skip
    kept = ("_looks",)

    def attach(self, scene: Scene) -> dict[str, str]:
        embeddings = [m for m in scene.module.modules() if isinstance(m, nn.Embedding)]
        indices = {m.padding_idx for m in embeddings if m.padding_idx is not None}
        self._embeds = bool(embeddings)
        self._index = indices.pop() if len(indices) == 1 else None
        self._looks = 0
        self._values: Values = []
        return {}

    def loss(self, batch: Batch) -> None:
        if not batch.observed and not self._values:  # the first micro-batch of a step
            with torch.no_grad():
                self._values = self._measured(batch.batch)

    def collect(self) -> Values:
        values, self._values = self._values, []
        return values

    def _measured(self, batch: Any) -> Values:
        given = find_input(batch)
        plain = given is not None and given.ndim > 1 and given.layout == torch.strided and not given.is_nested
        found = self._positions(batch, given.detach()) if given is not None and plain and given.shape[1] > 1 else None
        if given is None or found is None:
            self._looks += 1
            return [("data/padding_told_by", NONE)] if self._looks <= LOOKS else []
        padding = 1 - found.real.double().mean()
        values: Values = [
            ("data/padding_told_by", found.source),
            ("data/padding_frac", torch.where(found.sure, padding, torch.nan)),
            ("data/padding_beyond_frac", torch.where(found.sure, kernels.beyond_longest(found.real), torch.nan)),
            ("data/sequence_length", float(given.shape[1])),
        ]
        if self._embeds and _are_tokens(given) and len(given) > 1:
            values.append(("data/alike_frac", kernels.alike(given, found.real)))
        return values

    def _positions(self, batch: Any, given: Tensor) -> Positions | None:
        told = _told(as_mapping(batch) or {}, given)
        if told is not None or not (self._embeds and _are_tokens(given)):
            return told
        if self._index is not None:
            padding = kernels.padding_of(given, self._index)
            return Positions(~padding, torch.ones_like(padding[0, 0]), INDEX)
        padding, sure = kernels.padding_by_tail(given)
        return Positions(~(padding & sure), sure, TAIL)


def _are_tokens(given: Tensor) -> bool:
    return given.ndim == 2 and not given.is_floating_point() and given.dtype != torch.bool and not given.is_complex()


def _told(parts: Mapping[Any, Any], given: Tensor) -> Positions | None:
    """What the batch itself says of its positions."""
    for names, of_padding in ((MASKS, False), (PADDED, True)):
        mask = named(parts, names)
        if mask is not None and mask.shape == given.shape[:2]:
            there = (mask.detach() != 0) ^ of_padding
            return Positions(there, torch.ones_like(there[0, 0]), MASK)
    lengths = named(parts, LENGTHS)
    if lengths is None or lengths.shape != given.shape[:1]:
        return None
    positions = torch.arange(given.shape[1], device=given.device)
    sure = (lengths.detach() <= given.shape[1]).all()  # else they count something else than these positions
    return Positions(positions < lengths.detach()[:, None], sure, LENGTH)
