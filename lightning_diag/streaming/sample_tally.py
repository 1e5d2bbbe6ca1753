"""What the samples that passed amount to: shares, and the names of those to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.streaming.label_suspects import LabelSuspects
from lightning_diag.streaming.sample_ledger import SampleLedger

TRAIN_EVAL = 0.9  # share of a validation loader's samples, one of several, from which it is training data on purpose
NAMED = 5  # leaked samples named
TRAIN_COLUMNS = 9  # key in 3 parts, label, margin, best other label, epoch, id in 2 parts: below 2^24, and above
VAL_COLUMNS = 5  # key in 3 parts, loader, position in it

Rows = NDArray[np.float64]


class SampleTally:
    """Takes rows of samples as they arrive, tells from time to time what they amount to.

    Args:
        positions: whether a validation sample's position among those of its loader means something.
    """

    def __init__(self, positions: bool = True) -> None:
        self.positions = positions
        self.ledger = SampleLedger()
        self.suspects = LabelSuspects()
        self.val: Rows = np.empty((0, VAL_COLUMNS))
        self._told = 0

    def train(self, rows: Rows) -> None:
        """Take in training rows ``(n, 9)``."""
        taken = np.column_stack([rows[:, :6], rows[:, 7] + rows[:, 8] * 2.0**24])
        for epoch in np.unique(rows[:, 6]):
            self.ledger.add(taken[rows[:, 6] == epoch], int(epoch))

    def validation(self, rows: Rows) -> None:
        """Take in validation rows ``(n, 5)``; what passes again is known."""
        self.val = np.unique(np.concatenate([self.val, rows]), axis=0)

    @property
    def due(self) -> bool:
        """Whether half as many rows again have passed as when it was told last."""
        return self.ledger.passed >= 1.5 * self._told + 2000

    def tell(self, *, replacement: bool, borrowed: bool) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
        """Return field -> number, and axis -> names.

        Args:
            replacement: whether the training sampler draws with replacement: a repeat says nothing then.
            borrowed: whether training data stand in validation's place on purpose.
        """
        ledger = self.ledger
        self._told = int(ledger.passed)
        made = {
            "samples": len(ledger) / ledger.kept_frac, "kept_frac": ledger.kept_frac,
            "renewed_frac": ledger.renewed_frac, "conflict_frac": ledger.conflict_frac,
        }  # fmt: skip
        names: dict[str, tuple[str, ...]] = {}
        if not replacement:
            made["duplicate_frac"] = ledger.odd_repeats_frac
        if not borrowed:
            leaks, named = self._leaks()
            made |= leaks
            if named:
                names["leaked"] = named
        noise, suspected = self.suspects.look(ledger)
        if noise is not None:
            made |= {f"noise_{field}": value for field, value in noise._asdict().items()}
            if suspected:
                names["suspect"] = suspected
        return made, names

    def state_dict(self, at_most: int) -> dict[str, NDArray[Any]]:
        """Return arrays: of more samples than ``at_most`` an even sample of them."""
        told, suspects = np.array([self._told, self.suspects.usual]), self.suspects.table()
        return {**self.ledger.columns(at_most), "val": self.val.copy(), "told": told, "suspects": suspects}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them back."""
        self.ledger.take(state)
        self.val, self._told = np.array(state["val"]), int(state["told"][0])
        if "suspects" in state:
            self.suspects.take(np.asarray(state["suspects"]), float(state["told"][1]))

    def _leaks(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """Of the validation loader that leaks most; one of several that is all training data is meant to be."""
        ledger, share, leaked = self.ledger, -1.0, np.empty((0, VAL_COLUMNS))
        rows = self.val[ledger.kept(self.val)]
        places = np.unique(rows[:, 3])
        for place in places:
            here = rows[rows[:, 3] == place]
            found = ledger.holds(here, rare=True)
            if share < found.mean() and (found.mean() <= TRAIN_EVAL or len(places) == 1):
                share, leaked = float(found.mean()), here[found]
        if share < 0:
            return {}, ()
        names: tuple[str, ...] = ()
        if self.positions:
            which = f" of loader {leaked[0, 3]:.0f}" if len(places) > 1 and len(leaked) else ""
            names = tuple(f"validation sample {at:.0f}{which}" for at in np.unique(leaked[:, 4])[:NAMED])
        return {"leaked_frac": share, "leaked_samples": len(leaked) / ledger.kept_frac}, names
