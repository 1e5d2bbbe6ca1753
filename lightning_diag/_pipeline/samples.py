"""Which samples each of the last steps was made of, where batches say so."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lightning_diag._transfer import wait_for_all
from lightning_diag.probes.batch_fields import OPTIONAL

KEPT = 512  # batches: those of the flight recorder, and of readings that are on their way
MOST = 4096  # ids of a batch
KEYS = (*OPTIONAL["sample_id"], "image_id", "image_ids", "__key__", "key", "path", "paths", "filename", "file_name")


class SampleIds:
    """Keeps the ids that the last batches hold, as they stand there; they are read only when somebody asks.

    >>> ids = SampleIds()
    >>> ids.note(1, {"x": [0.1, 0.2], "id": ["cat-1", "dog-7"]})
    >>> ids.note(2, ("no", "ids"))
    >>> ids.of(1), ids.of(2)
    (('cat-1', 'dog-7'), ())
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Any]] = deque(maxlen=KEPT)

    def __reduce__(self) -> tuple[type[SampleIds], tuple[()]]:
        return SampleIds, ()  # a copy of a run's parts is no part of the run

    def note(self, step: int, batch: Any) -> None:
        """Take down a batch of this step."""
        if type(batch) not in (list, tuple) and isinstance(batch, Mapping):  # asking an abstract class is slow
            for key in KEYS:
                if key in batch:
                    self._kept.append((step, batch[key]))
                    return

    def of(self, step: int) -> tuple[str, ...]:
        """Return the ids of this step's batches, in their order."""
        return tuple(str(i) for at, ids in self._kept if at == step for i in _plain(ids)[:MOST])


def _plain(ids: Any) -> list[Any]:
    if isinstance(ids, Tensor):
        whole = ids.ndim == 1 and not ids.is_floating_point()
        return list(wait_for_all({"ids": ids})["ids"]) if whole else []
    return list(ids) if isinstance(ids, Sequence) and not isinstance(ids, (str, bytes)) else []
