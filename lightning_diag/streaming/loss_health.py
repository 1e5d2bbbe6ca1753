"""How the loss is doing, computed once a step and shared by every detector that needs a consequence."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from lightning_diag.streaming.sorted_window import SortedWindow
from lightning_diag.streaming.state import restore, snapshot

LEVEL = 32  # steps of the level's median: short against a run, long against batch noise
NOISE = 64  # steps of the noise estimate
HALF = 16  # steps of each of the two medians that the expected loss is drawn through
DRIFT = 8.5 / 16  # steps from the middle of the later half to the next loss, over those between the two middles
FIRST = 10  # steps of the reference when chance is not known; deviations before there is a noise estimate
MIN_NOISE = 0.02  # a smoother loss than 2 % is treated as 2 %: below it z has no practical meaning
OUTLIER = 8.0  # a loss further out than this doesn't enter the windows ...
PATIENCE = 16  # ... until this many in a row say that it's a new regime, which then becomes the baseline


class LossHealth:
    """Level, noise, outlier score, best level and relative level of a loss stream.

    The transform is ``y = log(loss)``, or ``asinh(loss / s)`` with ``s`` the median size of the first losses once a
    loss is not positive. ``loss/z`` is the deviation from what the steps *before* make one expect (an outlier never
    hides itself): the line through the medians of the last 16 and of the 16 before them, so that a loss that falls fast
    does not look noisy. Its unit is ``1.4826 * median |y - expected|`` over 64 steps, at least 0.02. A run of fewer
    than 16 outliers is kept out of those windows, so that a spike doesn't poison its own baseline (delayed baselines:
    llm-foundry's ``optim/outlier_detection.py``); the 16th makes the 16 the new baseline at once.

    Absent, never 0: ``loss/z`` and ``loss/noise`` before 10 deviations were seen, ``loss/best`` before 10 losses, and
    ``loss/relative`` where its reference isn't positive. ``loss/relative`` is level / chance loss; where chance isn't
    known, level / median of the first 10 losses. A loss that isn't finite gives nothing and changes nothing.

    >>> h = LossHealth()
    >>> for step in range(100):
    ...     out = h.update(2.0 + 0.01 * (step % 3), chance=4.0)
    >>> round(out["loss/level"], 2), round(out["loss/relative"], 2), abs(out["loss/z"]) < 2
    (2.01, 0.5, True)
    >>> h.update(9.0, chance=4.0)["loss/z"] > 8
    True
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.level = SortedWindow(LEVEL)
        self.late = SortedWindow(HALF)
        self.early = SortedWindow(HALF)
        self.residual = SortedWindow(NOISE)
        self.first = SortedWindow(FIRST)
        self.held: deque[float] = deque(maxlen=PATIENCE)  # outliers in a row, not yet believed
        self.reference = math.nan
        self.best = math.inf
        self.scale = 0.0  # 0 = log transform, else the s of asinh

    def update(
        self, loss: float, chance: float | None = None, into: dict[str, float] | None = None
    ) -> dict[str, float]:
        """Take in one loss and return the host signals (put ``into`` a dict); none when the loss is not finite."""
        out: dict[str, float] = {} if into is None else into
        if loss - loss != 0.0:  # NaN or infinite
            return out
        if len(self.first.queue) < FIRST:
            self.first.push(loss)
            self.reference = self.first.median()
        if loss <= 0 and self.scale == 0.0:
            self._switch_to_asinh()
        self.level.push(loss)
        level = self.level.median()
        out["loss/level"] = level
        y = math.log(loss) if self.scale == 0.0 else math.asinh(loss / self.scale)
        z, expected = 0.0, None
        if self.late.queue:
            expected = self._expected()
            if len(self.residual.queue) >= FIRST:
                noise = out["loss/noise"] = max(1.4826 * self.residual.median(), MIN_NOISE)
                z = out["loss/z"] = (y - expected) / noise
        if abs(z) <= OUTLIER:
            self._remember(y, expected)
        else:
            self._hold(y)
        if len(self.level.queue) >= FIRST:
            if level < self.best:
                self.best = level
            out["loss/best"] = self.best
        reference = chance if chance is not None and chance > 0 else self.reference
        if reference > 0:
            out["loss/relative"] = level / reference
        return out

    def _expected(self) -> float:
        late = self.late.median()
        return late + DRIFT * (late - self.early.median()) if len(self.early.queue) == HALF else late

    def _remember(self, y: float, expected: float | None) -> None:
        """Put ``y`` into the windows."""
        if self.held:
            self.held.clear()
        if expected is not None:
            self.residual.push(abs(y - expected))
        if len(self.late.queue) == HALF:
            self.early.push(self.late.queue[0])
        self.late.push(y)

    def _hold(self, y: float) -> None:
        """Hold ``y`` back as an outlier until there are too many of them."""
        self.held.append(y)
        if len(self.held) == PATIENCE:
            self.early.clear()
            self.late.clear()
            for held in self.held:
                self.late.push(held)
            for held in self.held:
                self.residual.push(abs(held - self.late.median()))
            self.held.clear()

    def _switch_to_asinh(self) -> None:
        sizes = sorted(abs(x) for x in self.first.queue)
        self.scale = max(sizes[len(sizes) // 2], 1e-12)
        self.early.clear()
        self.late.clear()
        self.residual.clear()
        self.held.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return snapshot(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        restore(self, state)
