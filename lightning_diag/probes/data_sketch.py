"""A sketch of each sample's inputs: samples that hardly differ have sketches that hardly differ."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_diag.probes.batch_fields import find_input
from lightning_diag.probes.data_kernels import flat_features

BANDS, BITS = 5, 24  # a band travels as one float32
SEED = 20_021_117


class Sketcher:
    """Signs of 120 random projections of up to 256 inputs, less the mean of the first batch.

    Two samples at an angle of ``a`` from that mean differ in ``120 a / pi`` of the signs on average (Charikar,
    Similarity estimation techniques from rounding algorithms, STOC 2002). Nothing is copied to the host.

    >>> sketcher = Sketcher()
    >>> x = torch.arange(400.0).reshape(4, 100).sin()
    >>> rows = sketcher.rows(x, torch.zeros(4, 3))
    >>> rows.shape, torch.equal(sketcher.rows(x + 1e-4, torch.zeros(4, 3))[0], rows[0])
    (torch.Size([4, 8]), True)
    """

    def __init__(self) -> None:
        self._mean: Tensor | None = None
        self._directions: Tensor | None = None

    def rows(self, batch: object, keys: Tensor) -> Tensor | None:
        """Return ``(B, 8)``: the samples' keys ``(B, 3)`` and five bands; None where inputs are no plain numbers."""
        given = find_input(batch)
        if given is None or given.is_sparse or given.is_nested or given.is_complex():
            return None
        flat = flat_features(given)
        if flat is None or flat.shape[0] != keys.shape[0] or flat.shape[1] < 2:
            return None
        x = torch.nan_to_num(flat.float(), nan=0.0, posinf=0.0, neginf=0.0)
        if self._mean is None or self._directions is None or self._mean.shape[0] != x.shape[1]:
            self._mean = x.mean(0)
            own = torch.Generator().manual_seed(SEED)  # never the user's stream
            self._directions = torch.randn(x.shape[1], BANDS * BITS, generator=own).to(x.device)
        signs = ((x - self._mean) @ self._directions > 0).unflatten(1, (BANDS, BITS))
        powers = torch.exp2(torch.arange(BITS, device=x.device, dtype=torch.float32))
        return torch.cat([keys, (signs * powers).sum(2)], 1)
