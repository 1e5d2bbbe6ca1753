"""Small batches wait to be hashed together: sixteen cost hardly more than one, as each kernel has little to do."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_diag.probes.data_rows import Samples

TOGETHER = 16  # batches
SMALL = 2**16  # numbers that a batch's inputs hold at most: 4 MB wait in all


class WaitingSamples:
    """Copies of batches of one kind (shapes, types, what is known), until there are :data:`TOGETHER` of them.

    >>> waiting, batch = WaitingSamples(), Samples((torch.zeros(2, 3),), torch.arange(2), None, None)
    >>> waiting.take(batch), waiting.take(batch), waiting.take(batch._replace(target=None))
    (True, True, False)
    >>> joined = waiting.joined()
    >>> joined.inputs[0].shape, joined.target.tolist(), waiting.joined() is None
    (torch.Size([4, 3]), [0, 1, 0, 1], True)
    """

    def __init__(self) -> None:
        self._kept: list[Samples] = []

    @property
    def full(self) -> bool:
        """Whether there are enough."""
        return len(self._kept) >= TOGETHER

    def take(self, samples: Samples) -> bool:
        """Keep a copy of a batch; False where it is large, or of another kind than those that wait."""
        if sum(t.numel() for t in samples.inputs) > SMALL or (self._kept and not self.alike(samples)):
            return False
        inputs, *rest = samples
        self._kept.append(Samples(tuple(t.clone() for t in inputs), *(None if t is None else t.clone() for t in rest)))
        return True

    def alike(self, samples: Samples) -> bool:
        """Whether a batch is of the kind of those that wait."""
        return bool(self._kept) and _kind(samples) == _kind(self._kept[0])

    def joined(self, last: Samples | None = None) -> Samples | None:
        """Return all that waits as one batch, one like them behind it, and forget it; None where nothing waits."""
        kept, self._kept = self._kept, []
        if not kept:
            return None
        kept = kept if last is None else [*kept, last]
        inputs = tuple(torch.cat(parts) for parts in zip(*(samples.inputs for samples in kept), strict=True))
        return Samples(inputs, *(_joined(parts) for parts in list(zip(*kept, strict=True))[1:]))


def _joined(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


def _kind(samples: Samples) -> list[object]:
    inputs, *rest = samples
    return [None if t is None else (t.shape[1:], t.dtype, t.device) for t in (*inputs, *rest)]
