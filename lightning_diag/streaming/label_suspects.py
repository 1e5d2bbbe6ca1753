"""Which labels are probably wrong, from the margins of the samples over training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_diag.streaming.sample_ledger import SampleLedger

DEPTH = 0.5  # a label is suspected when its mean margin lies this much of a usual one below zero
SHOWN = 50  # samples named
IGNORED = 0.8  # share of a label's samples from which the network ignores that class, which says nothing of its labels


class Noise(NamedTuple):
    """What the margins say of the labels.

    Attributes:
        frac: share of labels that are probably wrong.
        samples: samples that estimate is of.
        depth: share of the negative mean margins that are deep: near 1 where labels are wrong, low where samples are
            hard.
        margin: median mean margin of labels the network agrees with: how sure it is.
        seen: margins a sample, on average.
    """

    frac: float
    samples: float
    depth: float
    margin: float
    seen: float


class LabelSuspects:
    """Samples whose given label the network holds against on average while it learns.

    The mean margin over training (area under the margin) of a sample whose label is wrong is negative and large: others
    like it pull the network to the right class. Suspected is a margin below ``-0.5`` times the median margin of samples
    whose label the network agrees with; a hard sample lies around zero. A label nearly all of whose samples would be
    suspected is one that the network doesn't predict at all: these don't count.

    References:
        Pleiss et al., Identifying mislabeled data using the area under the margin ranking, NeurIPS 2020
        (arXiv:2001.10528).
    """

    def __init__(self) -> None:
        self.keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self.labels: NDArray[np.float32] = np.empty(0, np.float32)
        self.margins: NDArray[np.float32] = np.empty(0, np.float32)

    def look(self, ledger: SampleLedger) -> tuple[Noise | None, tuple[str, ...]]:
        """Return the estimate and the most suspicious samples' names; None before samples were seen often enough."""
        seen = ledger.margins(2)
        if len(seen.key) < 200 or len(seen.key) < 0.5 * len(ledger):
            return None, ()
        agreed = seen.mean[seen.mean > 0]
        if len(agreed) < 20:
            return None, ()
        usual = float(np.median(agreed))
        wrong = seen.mean < -DEPTH * usual
        wrong &= ~_ignored(seen.label, wrong)
        order = np.argsort(seen.mean)[:SHOWN]
        order = order[wrong[order]]
        self.keys, self.labels, self.margins = seen.key[order], seen.label[order], seen.mean[order]
        names = tuple(
            f"sample {int(k):012x} (label {label:g})" for k, label in zip(self.keys, self.labels, strict=True)
        )
        depth = float(wrong.sum()) / max(1.0, float((seen.mean < 0).sum()))
        return Noise(float(wrong.mean()), float(len(wrong)), depth, usual, float(seen.counts.mean())), names


def _ignored(label: NDArray[np.float32], wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether nearly all samples of a sample's given label are suspected, ``(n,)``."""
    _, own = np.unique(label, return_inverse=True)
    share = np.bincount(own, wrong) / np.bincount(own)
    return np.asarray((share > IGNORED)[own])
