"""A fixed strided sample of a tensor's elements: cheap statistics whose cost doesn't grow with the model."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, sqrt

import torch
from torch import Tensor

ELEMENTS = 1024  # relative standard error of a root mean square of Gaussian values: sqrt(1 / (2 n)) = 2.2 %
BESIDE = -1  # slot of other tensors' samples


def strided_view(tensor: Tensor, elements: int = ELEMENTS, offset: int = 0) -> Tensor:
    """Return a view of at most ``elements`` elements, evenly strided through the tensor's memory, shape ``(n,)``.

    The stride shares no factor with the last dimension, so the sample walks through all columns instead of down one.
    A tensor whose memory isn't dense (an expanded one, say) is sampled along its first elements of ``flatten()``, a
    copy.
    """
    flat = tensor.detach()
    if flat.is_contiguous():
        flat = flat.view(-1)
    elif _dense(flat):
        flat = flat.as_strided((flat.numel(),), (1,), flat.storage_offset())
    else:
        flat = flat.flatten()
    n = flat.numel()
    if n <= elements:
        return flat
    stride = -(-n // elements)
    while gcd(stride, tensor.shape[-1]) != 1:
        stride += 1
    return flat[offset % stride :: stride]


class Samples:
    """The strided samples of several tensors, gathered again and again as the rows of one matrix.

    Views are kept from one gathering to the next, and made anew when a tensor's memory moved (``p.data = ...``): making
    them costs more than reading them. A kept view holds on to its memory, so memory that is left behind is freed at the
    next gathering. Rows make the norms one kernel instead of one a tensor.

    Args:
        tensors: P tensors on one device.
        elements: most elements of each.
    """

    def __init__(self, tensors: Sequence[Tensor], elements: int = ELEMENTS) -> None:
        self._elements = elements
        self._tensors = list(tensors)
        self._pointers: list[int] = []
        self._views: list[Tensor] = []
        self._places: list[_Place] = []
        self._pieces: list[Tensor] = []
        self._buffers: dict[int, tuple[Tensor, list[Tensor]]] = {}
        self.sizes = [_element_view(t, elements).numel() for t in self._tensors]
        self.width = max([1, *self.sizes])

    def hold(self, tensors: Sequence[Tensor]) -> None:
        """Look at other tensors of the same shapes from now on."""
        self._tensors = list(tensors)

    def rows(self, slot: int = 0) -> Tensor:
        """Return the samples as they are now, float32, shape ``(P, width)``, zeros at the end of a row.

        On the CPU the memory returned is used again by the next call with the same ``slot``.
        """
        pointers = [t.data_ptr() for t in self._tensors]
        if pointers != self._pointers:
            self._remake(pointers)
        if self._views[0].device.type != "cpu":  # few kernels, each larger
            return torch.cat(self._pieces).view(-1, self.width).float()
        buffer, rows = self._buffers.get(slot) or self._buffer(slot)
        _copy(rows, self._views)
        return buffer

    def beside(self, others: Sequence[Tensor | None]) -> Tensor:
        """Return the same elements of P other tensors, their gradients; zeros where there is none or a sparse one.

        On the CPU the memory returned is used again by the next call.
        """
        views = [place.of(other) for place, other in zip(self._places, others, strict=True)]
        if self._tensors[0].device.type != "cpu":
            zeros = self._tensors[0].new_zeros(self.width)
            pieces = [
                piece
                for view in views
                for piece in ((zeros,) if view is None else (view, zeros[: self.width - len(view)]))
            ]
            return torch.cat([piece.to(zeros.dtype) for piece in pieces]).view(-1, self.width).float()
        buffer, rows = self._buffers.get(BESIDE) or self._buffer(BESIDE)
        there = [(row, view) for row, view in zip(rows, views, strict=True) if view is not None]
        if len(there) < len(rows):
            buffer.zero_()
        _copy([row for row, _ in there], [view for _, view in there])
        return buffer

    def blow_up(self, device: torch.device) -> Tensor:
        """Return the factors from a row's norm to an estimate of the whole tensor's, shape ``(P,)``."""
        factors = [sqrt(t.numel() / max(1, n)) for t, n in zip(self._tensors, self.sizes, strict=True)]
        return torch.tensor(factors, device=device, dtype=torch.float32)

    def _remake(self, pointers: list[int]) -> None:
        self._views = [_element_view(t, self._elements) for t in self._tensors]
        self._places = [_Place(t, view, self._elements) for t, view in zip(self._tensors, self._views, strict=True)]
        zeros = self._views[0].new_zeros(self.width)
        self._pieces = [piece for view in self._views for piece in (view, zeros[: self.width - view.numel()])]
        # a sample that is a copy sees no later change, so it isn't kept
        self._pointers = pointers if all(_dense(t) for t in self._tensors) else []

    def _buffer(self, slot: int) -> tuple[Tensor, list[Tensor]]:
        buffer = torch.zeros(len(self.sizes), self.width)
        made = self._buffers[slot] = buffer, [buffer[i, :n] for i, n in enumerate(self.sizes)]
        return made


class _Place:
    """Where a tensor's sample lies, so that another tensor of its layout can be sampled at the same elements."""

    def __init__(self, tensor: Tensor, view: Tensor, elements: int) -> None:
        self._tensor, self._elements = tensor, elements
        self._stride = tensor.stride()
        self._in_place = _dense(tensor) and not tensor.is_complex()
        self._at = view.shape, view.stride(), view.storage_offset() - tensor.storage_offset()

    def of(self, other: Tensor | None) -> Tensor | None:
        """Return the other's sample; None where it is none or sparse."""
        if other is None or other.layout is not torch.strided:
            return None
        if self._in_place and other.stride() == self._stride:
            shape, stride, offset = self._at
            return other.as_strided(shape, stride, other.storage_offset() + offset)
        return _element_view(torch.empty_like(self._tensor).copy_(other.detach()), self._elements)


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    foreach = getattr(torch, "_foreach_copy_", None)
    if foreach is not None and targets:
        foreach(targets, sources)
        return
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


def _element_view(tensor: Tensor, elements: int) -> Tensor:
    tensor = tensor.detach()
    return strided_view(torch.view_as_real(tensor) if tensor.is_complex() else tensor, elements)


def _dense(tensor: Tensor) -> bool:
    """Whether the tensor fills its memory without holes or overlaps (a channels-last weight does)."""
    order = sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1)
    expected = 1
    for stride, size in order:
        if stride != expected:
            return False
        expected *= size
    return True
