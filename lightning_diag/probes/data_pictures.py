"""Pictures of a few samples named by content key, taken when they pass; nothing else of the inputs is ever kept."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_diag.probes.batch_fields import find_input

SLOTS = 16  # pictures at most
SIDE = 64  # pixels a side at most: larger ones are thinned
HEAD = 6  # columns before the pixels: key in 3 parts, channels, height, width


class Pictures:
    """Looks out for at most 16 samples on the device: fixed shapes, no sync.

    >>> pictures = Pictures()
    >>> pictures.look_for(torch.tensor([[2.0, 0, 0], [9, 0, 0]]))
    >>> images = torch.arange(48.0).reshape(3, 1, 4, 4)
    >>> pictures.see(images, torch.tensor([[1.0, 0, 0], [2, 0, 0], [3, 0, 0]]))
    >>> rows = pictures.take()
    >>> rows.shape, rows[0, :HEAD].tolist(), float(rows[0, HEAD])
    (torch.Size([2, 22]), [2.0, 0.0, 0.0, 1.0, 4.0, 4.0], 16.0)
    """

    def __init__(self) -> None:
        self._keys: Tensor | None = None  # (S, 3)
        self._pixels: Tensor | None = None  # (S, C, H, W)

    def look_for(self, keys: Tensor) -> None:
        """Look out for samples with these keys ``(S, 3)``, the first :data:`SLOTS` of them; forget others."""
        self._keys, self._pixels = keys[:SLOTS] if len(keys) else None, None

    def see(self, batch: object, keys: Tensor) -> None:
        """A batch passes whose samples have the keys ``(B, 3)``."""
        images = None if self._keys is None else find_input(batch)
        if self._keys is None or images is None or not _is_picture(images):
            return
        small = images.detach()[:, :, :: -(-images.shape[2] // SIDE), :: -(-images.shape[3] // SIDE)].float()
        wanted = self._keys.to(keys)
        same = (wanted[:, None] == keys[None]).all(2)
        found = small[same.int().argmax(1)]
        if self._pixels is None or self._pixels.shape != found.shape:
            self._pixels = torch.full_like(found, torch.nan)
        self._pixels = torch.where(same.any(1)[:, None, None, None], found, self._pixels)

    def take(self) -> Tensor | None:
        """Return rows ``(S, 6 + C H W)``, NaN pixels where a sample hasn't passed; None without any picture."""
        if self._keys is None or self._pixels is None:
            return None
        keys = self._keys.to(self._pixels)
        shape = keys.new_tensor(self._pixels.shape[1:]).expand(len(keys), 3)
        return torch.cat([keys, shape, self._pixels.flatten(1)], 1)


def wanted(table: NDArray[np.float64]) -> Tensor:
    """Return the keys of the first rows of a table of suspects, as they are looked out for."""
    return torch.from_numpy(table[:SLOTS, :3]).float()


def _is_picture(images: Tensor) -> bool:
    return images.ndim == 4 and images.shape[1] in (1, 3) and min(images.shape[2:]) >= 4 and not images.is_complex()
