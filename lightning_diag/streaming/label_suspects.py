"""Which labels are probably wrong, from the margins of the samples over training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_diag.streaming.margin_fit import fit
from lightning_diag.streaming.sample_ledger import Margins, SampleLedger, joined

DEPTH = 0.5  # a label is suspected when its mean margin lies this much of a usual one below zero
SHOWN = 50  # samples named in findings
LISTED = 1000  # samples that a list of suspects holds at most
AGAIN = 0.3  # share of the samples that must have come twice: of augmented ones hardly any does
IGNORED = 0.8  # share of a label's samples from which the network ignores that class, which says nothing of its labels


class Noise(NamedTuple):
    """What the margins say of the labels.

    Attributes:
        frac: share of labels whose margin is deep.
        samples: samples that estimate is of.
        depth: share of the negative mean margins that are deep: near 1 where labels are wrong, low where samples are
            hard.
        margin: median mean margin of labels the network agrees with: how sure it is.
        seen: margins a sample, on average.
        rate: share of labels in the lower of two fitted components (:func:`~.margin_fit.fit`).
        error: its standard error.
        low: mean of that component, in usual margins.
        high: mean of the other one.
    """

    frac: float
    samples: float
    depth: float
    margin: float
    seen: float
    rate: float
    error: float
    low: float
    high: float


class LabelSuspects:
    """Samples whose given label the network holds against on average while it learns.

    The mean margin over training (area under the margin) of a sample whose label is wrong is negative and large: others
    like it pull the network to the right class. Suspected is a margin below ``-0.5`` times the median margin of samples
    whose label the network agrees with; a hard sample lies around zero. A label nearly all of whose samples would be
    suspected is one that the network doesn't predict at all: these don't count.

    Attributes:
        found: the suspects, the most suspicious first, at most :data:`LISTED`.
        usual: median mean margin of labels the network agrees with.

    References:
        Pleiss et al., Identifying mislabeled data using the area under the margin ranking, NeurIPS 2020
        (arXiv:2001.10528).
    """

    def __init__(self) -> None:
        none = np.empty(0, np.float32)
        ids = np.empty(0, np.int64)
        self.found = Margins(np.empty(0, np.uint64), none, none, np.empty(0, np.int32), none, ids)
        self.usual = 1.0

    def look(self, ledger: SampleLedger) -> tuple[Noise | None, tuple[str, ...]]:
        """Return the estimate and the most suspicious samples' names; None before samples were seen often enough."""
        seen = ledger.margins(2)
        if len(seen.key) < 200 or len(seen.key) < AGAIN * len(ledger):
            return None, ()
        agreed = seen.mean[seen.mean > 0]
        if len(agreed) < 20:
            return None, ()
        self.usual = float(np.median(agreed))
        wrong = seen.mean < -DEPTH * self.usual
        wrong &= ~_ignored(seen.label, wrong)
        order = np.flatnonzero(wrong)
        order = order[np.argsort(seen.mean[order], kind="stable")][:LISTED]
        self.found = Margins(
            seen.key[order], seen.label[order], seen.mean[order], seen.counts[order], seen.other[order], seen.own[order]
        )
        depth = float(wrong.sum()) / max(1.0, float((seen.mean < 0).sum()))
        parts = fit(seen.mean, self.usual)
        noise = Noise(float(wrong.mean()), float(len(wrong)), depth, self.usual, float(seen.counts.mean()), *parts)
        return noise, tuple(self.name(at) for at in range(min(SHOWN, len(order))))

    def name(self, at: int) -> str:
        """Return what a suspect is called: by its id where one is known, else by its content key."""
        key, own = int(self.found.key[at]), int(self.found.own[at])
        return f"sample {f'{key:016x}' if own < 0 else own} (label {self.found.label[at]:g})"

    def take(self, table: NDArray[np.float64], usual: float) -> None:
        """Take back a :meth:`table`, from a checkpoint."""
        label, other, mean = table[:, [4, 5, 7]].astype(np.float32).T
        own = np.where(np.isnan(table[:, 3]), -1, table[:, 3]).astype(np.int64)
        self.found = Margins(joined(table), label, mean, table[:, 8].astype(np.int32), other, own)
        self.usual = usual

    def table(self) -> NDArray[np.float64]:
        """Return one row a suspect, ``(n, 9)``.

        Columns: key in three parts, id (NaN unknown), label, other, score, margin, times. The score is the logistic
        function of the margin over the usual one: 0 to 1, low = wrong.
        """
        found = self.found
        low = np.uint64(2**21 - 1)
        parts = [(found.key >> np.uint64(shift)) & low for shift in (0, 21, 42)]
        ids = np.where(found.own < 0, np.nan, found.own.astype(np.float64))
        score = 1 / (1 + np.exp(np.clip(-found.mean / self.usual, -30, 30)))
        columns = [*parts, ids, found.label, found.other, score, found.mean, found.counts]
        return np.column_stack(columns).astype(np.float64)


def _ignored(label: NDArray[np.float32], wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether nearly all samples of a sample's given label are suspected, ``(n,)``."""
    _, own = np.unique(label, return_inverse=True)
    share = np.bincount(own, wrong) / np.bincount(own)
    return np.asarray((share > IGNORED)[own])
