"""What leaves to loggers, and how often: the logged statistics of a reading and the spacing of rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lightning_diag.errors import ConfigurationError
from lightning_diag.reading import Reading
from lightning_diag.signals import PREFIX, SIGNALS, Statistic

# every step brings the training loss and what the host makes of it; a reading with more was sampled
EVERY_STEP = frozenset(
    {"loss/train", *(s.name for s in SIGNALS.values() if s.merge == "host" and s.name.startswith("loss/"))}
)


def metrics(reading: Reading) -> dict[str, float]:
    """Return logger key -> value, exactly as :func:`lightning_diag.signals.logged_keys` names them.

    Arrays leave as min, median or max of their finite elements, NaN when none is finite; an empty array and a signal
    that isn't in the table leave nothing.

    >>> metrics(Reading(1, 0, {"lr": np.array([0.1, 0.2]), "loss/train": 2.0, "grad/missing": np.zeros(3)}))
    {'diag/lr/max': 0.2, 'diag/loss/train': 2.0}
    """
    out: dict[str, float] = {}
    for name, value in reading.values.items():
        signal = SIGNALS.get(name)
        if signal is None or not signal.logged:
            continue
        if signal.logged == ("value",):
            if np.size(value) == 1:
                out[PREFIX + name] = float(np.asarray(value).reshape(()))
        elif np.size(value):
            for statistic, number in _spread(value, signal.logged).items():
                out[f"{PREFIX}{name}/{statistic}"] = number
    return out


class RowLimit:
    """Says which readings become a row: sampled ones, and of every-step scalars at most one each so many steps.

    Readings that hold only every-step scalars are spaced by ``log_every_n_steps``; each value is that of its own step,
    not a mean. Sampled and validation readings all get a row, and so does the last. Once half of ``max_rows`` was
    written since the last time, all spacings double: the number of rows grows with the logarithm of the run's length.

    Args:
        log_every_n_steps: spacing of every-step scalars; higher means fewer rows.
        max_rows: rows after which a long run is logged more sparsely; higher means more rows.

    >>> limit = RowLimit(10, 1000)
    >>> [step for step in range(1, 31) if limit.admits(Reading(step, 0, {"loss/train": 1.0}))]
    [1, 11, 21]
    """

    def __init__(self, log_every_n_steps: int, max_rows: int) -> None:
        for name, value, least in (("log_every_n_steps", log_every_n_steps, 1), ("max_rows", max_rows, 2)):
            if value < least:
                raise ConfigurationError(f"{name} must be at least {least}, got {value!r}")
        self.log_every_n_steps = log_every_n_steps
        self.max_rows = max_rows
        self._reset()

    def _reset(self) -> None:
        self._stretch = 1
        self._rows = 0
        self._last: dict[str, int] = {}  # stage -> step of its last row

    def admits(self, reading: Reading) -> bool:
        """Whether this reading becomes a row; call it once a reading."""
        if reading.stage != "end":
            every_step = reading.stage == "train" and reading.values.keys() <= EVERY_STEP
            gap = self._stretch * (self.log_every_n_steps if every_step else 1)
            last = self._last.get(reading.stage)
            if last is not None and 0 <= reading.step - last < gap:
                return False
        self._last[reading.stage] = reading.step
        self._rows += 1
        if 2 * self._rows >= self.max_rows:
            self._rows = 0
            self._stretch *= 2
        return True


def _spread(value: Any, wanted: tuple[Statistic, ...]) -> dict[str, float]:
    array = np.asarray(value, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if not len(finite):
        return dict.fromkeys(wanted, math.nan)
    with np.errstate(over="ignore"):  # the mean of the two middle elements may be too large for a float
        return {statistic: float(getattr(np, statistic)(finite)) for statistic in wanted}
