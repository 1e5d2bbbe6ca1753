"""Which classes are taken for which, from the last confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_diag.report.gather import Gathered
from lightning_diag.report.words import clean, number

SIGNAL = "class/confusion"  # true x predicted counts
PAIRS = 8
MIN_COUNT = 2  # one sample is no pattern


@dataclass
class Table:
    """A small plain table."""

    caption: str
    head: list[str]
    rows: list[list[str]]


def confused_pairs(got: Gathered) -> list[Table]:
    """Return the most frequent confusions of the last validation, by share of the true class; empty without any."""
    if SIGNAL not in got.matrices:
        return []
    step, counts = got.matrices[SIGNAL]
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        return []
    support = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    np.fill_diagonal(share, 0.0)
    names = [clean(name) for name in got.names_along("class", len(counts))]
    rows = []
    for flat in np.argsort(-np.nan_to_num(share), axis=None, kind="stable")[:PAIRS]:
        truth, guess = divmod(int(flat), len(counts))
        if counts[truth, guess] >= MIN_COUNT and share[truth, guess] > 0:
            part = f"{number(round(100 * float(share[truth, guess]), 1))} %"
            of = f"{int(counts[truth, guess]):,} of {int(support[truth, 0]):,}"
            rows.append([names[truth], names[guess], part, of])
    head = ["True class", "Taken for", "Share of the true class", "Samples"]
    return [Table(f"Confused most at step {step:,}", head, rows)] if rows else []
