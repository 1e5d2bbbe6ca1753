"""What the rules over data share: how the run does, and how inputs are called."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._consequence import Consequence
from lightning_diag.reading import Reading

SORTED = 0.3  # excess of pairs with one label in a batch from which labels follow the order
CHANNELS = 16  # up to so many features are channels, not columns


class Doing:
    """How the run does: the loss against chance, and the newest validation against it.

    ``suffers`` when the loss should be below 0.9 times chance by now and isn't, or when validation is no better than
    that.

    Args:
        sure: steps after which a run that has learned nothing at all suffers (see :class:`Consequence`); 0 = as others.
    """

    def __init__(self, *, sure: int = 0) -> None:
        self._sure = sure
        self._reset()

    def _reset(self) -> None:
        self.loss = Consequence(sure=self._sure)
        self.val = math.nan  # newest validation loss over chance

    def see(self, reading: Reading) -> None:
        """Take in what a reading says of it."""
        if "loss/relative" in reading.values:
            self.loss.see(reading)
        val, chance = reading.scalar("loss/val"), reading.facts.chance_loss
        if val is not None and chance:
            self.val = val / chance

    @property
    def suffers(self) -> bool:
        """Whether it shows."""
        return self.loss.stuck(0.9) or self.val > 0.9

    def state_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {"loss": self.loss.state_dict(), "val": self.val}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take it back."""
        self.loss.load_state_dict(state["loss"])  # type: ignore[arg-type]
        self.val = float(state["val"])  # type: ignore[arg-type]


class Order:
    """How far batches are from shuffled: running mean of the excess of pairs that share a label, 0 to 1.

    >>> order = Order()
    >>> order.see(Reading(1, 0, {"data/same_label": np.float64(1), "data/same_label_chance": np.float64(0.1)}))
    >>> order.excess, order.sorted
    (1.0, True)
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.excess = 0.0
        self._known = False

    def see(self, reading: Reading) -> None:
        """Take in a sampled batch."""
        same, chance = reading.scalar("data/same_label"), reading.scalar("data/same_label_chance")
        if same is not None and chance is not None and chance < 1:
            new = (same - chance) / (1 - chance)
            self.excess = 0.9 * self.excess + 0.1 * new if self._known else new
            self._known = True

    @property
    def sorted(self) -> bool:
        """Whether a batch says more of the order than of the labels."""
        return self.excess > SORTED

    def state_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {"excess": self.excess, "known": self._known}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take it back."""
        self.excess, self._known = float(state["excess"]), bool(state["known"])  # type: ignore[arg-type]


def unseen(reading: Reading, signal: str, words: str = "inputs of numbers that aren't whole were not seen yet") -> str:
    """Return why a signal has not come: the probes' own reason where there is one, else these words."""
    return reading.facts.unmeasured.get(signal, words)


def other_domain(reading: Reading) -> bool:
    """Return whether most validation samples are of domains that training doesn't hold."""
    val, train = reading.vector("domain/val_samples"), reading.vector("domain/train_samples")
    if val is None or train is None or val.shape != train.shape or not val.sum() > 0:
        return False
    return bool(val[~(train > 0)].sum() > 0.5 * val.sum())


def feature_names(reading: Reading, which: Sequence[int] | NDArray[np.int64], total: int) -> list[str]:
    """Return the names of features: given ones, else ``channel 2`` or ``feature 17``."""
    names = reading.names("feature")
    kind = "channel" if total <= CHANNELS else "feature"
    return [names[int(i)] if int(i) < len(names) else f"{kind} {int(i)}" for i in which]
