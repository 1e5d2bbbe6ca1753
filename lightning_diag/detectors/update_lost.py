"""``updates/lost``: steps are too small for the weights' number format and are rounded away."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import SURE_STEPS, Consequence
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.sorted_window import SortedWindow

LATE, SLOW = 0.3, 0.7  # share of the plan from which R above this is slow: then ``most`` lost is enough ...
NOMINAL = 0.3  # ... while the learning rate is at this share of its peak: small steps are meant later


class UpdateLost(Detector):
    """Weights in bfloat16 or float16 don't change although they have a gradient: the step is below half a unit.

    Catches:
        ``precision="bf16-true"`` or ``"16-true"`` with a learning rate that float32 weights would need, a schedule that
        decays below what the format can add.

    Formula:
        share of the weights with a nonzero gradient (a sample of at most 16 x 1,024) that are bit by bit the same after
        the step; its median over ``samples`` samples above ``limit``. bfloat16 keeps 8 bits: a step below 0.2 % to
        0.4 % of a weight is lost.

    Reads:
        ``update/lost_frac`` where sampled, ``loss/relative`` beside it.

    Args:
        limit: share; higher = fires on fewer runs. Default 0.75.
        samples: samples of the median; higher = later, steadier. Default 9.
        stuck: R (``loss/relative``) above which the run is not learning; higher = fewer warnings. Default 0.9.
        most: share from which it costs a run that learns slowly; higher = fewer warnings. Default 0.6: in bfloat16
            trainings of the fault zoo with a learning rate ten times too low it was 0.67 and more at 0.3 of the plan,
            with the usual one, as long as R was above 0.5, 0.36 at most (0.66 when most was learned).

    Fires when:
        it holds (info: the largest steps still pass); a warning when R > ``stuck`` after 2 % of the plan (60
        to 1,000 steps; 30 when R > 0.985). Also a warning where the share is above ``most`` and R > 0.7 of a known
        chance loss from 0.3 of the plan on, with the learning rate not decayed yet.

    False alarms:
        An optimizer that keeps float32 copies of its own changes weights rarely by intent. Measured:
        `docs/accuracy.md`.

    Cost:
        10 µs a reading.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> detector, facts = UpdateLost(), Facts(planned_steps=1000, chance_loss=2.3)
        >>> for step in range(1, 200):
        ...     values = {"update/lost_frac": np.float64(0.97), "loss/relative": np.float64(1.0)}
        ...     try:
        ...         found = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None and step in (9, 60):
        ...         print(step, found.severity)
        9 info
        60 warning

    References:
        Zamirai et al., Revisiting BFloat16 training, 2020 (arXiv:2010.06192): nearest rounding of weight updates is
        what costs accuracy.
    """

    rule: ClassVar[str] = "updates/lost"
    code: ClassVar[str] = "U004"
    reads: ClassVar[tuple[str, ...]] = ("update/lost_frac",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Updates are rounded away"

    def __init__(self, limit: float = 0.75, samples: int = 9, stuck: float = 0.9, most: float = 0.6) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.samples = whole("samples", samples, 1)
        self.stuck = number("stuck", stuck, 0)
        self.most = number("most", most, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=SURE_STEPS)
        self._shares = SortedWindow(self.samples)
        self._since = -1

    def update(self, reading: Reading) -> Finding | None:
        """Judge the weights of a sampled step."""
        self._run.see(reading)
        share = reading.scalar("update/lost_frac")
        if share is None:
            raise NotMeasurable("which weights a step changed is not measured at this step")
        if math.isnan(share):  # no gradient at all
            return None
        self._shares.push(share)
        if not self._shares.full:
            raise NotMeasurable(f"needs {self.samples} samples")
        value, run = self._shares.median(), self._run
        late = (reading.progress or 0.0) >= LATE and run.ripe and run.rates.decay >= NOMINAL
        slow = late and run.known and run.relative > SLOW
        limit = min(self.limit, self.most) if slow else self.limit
        if value <= limit:
            self._since = -1
            return None
        self._since = reading.step if self._since < 0 else self._since
        suffers = slow or run.stuck(self.stuck)
        loss = run.in_words(suffers)
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"{percent(value)} of the weights that have a gradient are unchanged by a step (limit "
            f"{percent(limit)}): it is rounded away in {reading.facts.precision or 'the format of the weights'}"
            f"{loss}.",
            evidence={"value": value, "limit": limit, "relative_loss": run.relative},
            advice=(
                'train 200 steps with precision="bf16-mixed", which keeps the weights in float32: if the loss falls '
                "faster, this was it",
                "or raise the learning rate 3 times; or use an optimizer with stochastic rounding or float32 copies",
            ),
            step=self._since,
        )
