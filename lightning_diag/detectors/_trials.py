"""The curves of ``sanity="full"``: what each way of training on one batch left of its loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_diag.errors import NotMeasurable
from lightning_diag.reading import Reading
from lightning_diag.streaming.fit_curve import left

OWN, SHUFFLED = "own optimizer", "targets shuffled"


@dataclass(frozen=True)
class Trials:
    """One curve a way of training, ``(S,)`` each.

    Attributes:
        own: with the user's optimizer.
        best: the one of which the least was left, with the targets as they are.
        best_name: its name.
        shuffled: trained in the best way with targets shuffled; None where they aren't known.
    """

    own: NDArray[np.float64]
    best: NDArray[np.float64]
    best_name: str
    shuffled: NDArray[np.float64] | None

    @classmethod
    def of(cls, reading: Reading) -> Trials:
        """Read them.

        Raises:
            NotMeasurable: there are none.
        """
        names, curves = reading.names("curve"), reading.vector("sanity/fit_loss")
        if curves is None or curves.ndim != 2 or len(curves) != len(names) or OWN not in names:
            raise NotMeasurable(reading.facts.unmeasured.get("sanity/fit_loss", "no batch was trained on the side"))
        by_name = dict(zip(names, curves, strict=True))
        tried = {name: curve for name, curve in by_name.items() if name != SHUFFLED}
        best = min(tried, key=lambda name: left(tried[name]))
        if not np.isfinite(tried[best][0]):
            raise NotMeasurable("the first loss is not finite")
        named = "the run's own optimizer" if best == OWN else best.replace(" ", " at ")
        return cls(by_name[OWN], tried[best], named, by_name.get(SHUFFLED))
