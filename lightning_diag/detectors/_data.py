"""What the rules over data share: how the run does, and how inputs are called."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._consequence import Consequence
from lightning_diag.reading import Reading

CHANNELS = 16  # up to so many features are channels, not columns


class Doing:
    """How the run does: the loss against chance, and the newest validation against it.

    ``suffers`` when the loss should be below 0.9 times chance by now and isn't, or when validation is no better than
    that.

    Args:
        sure: see :class:`Consequence`.
    """

    def __init__(self, *, sure: bool = False) -> None:
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


def unseen(reading: Reading, signal: str, words: str = "inputs of numbers that aren't whole were not seen yet") -> str:
    """Return why a signal has not come: the probes' own reason where there is one, else these words."""
    return reading.facts.unmeasured.get(signal, words)


def feature_names(reading: Reading, which: Sequence[int] | NDArray[np.int64], total: int) -> list[str]:
    """Return the names of features: given ones, else ``channel 2`` or ``feature 17``."""
    names = reading.names("feature")
    kind = "channel" if total <= CHANNELS else "feature"
    return [names[int(i)] if int(i) < len(names) else f"{kind} {int(i)}" for i in which]


def percent(share: float) -> str:
    """Return a share in words.

    >>> percent(0.0123), percent(0.25)
    ('1.2 %', '25 %')
    """
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
