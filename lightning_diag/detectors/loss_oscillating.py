"""``loss/oscillating``: the training loss jumps up and down from step to step."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._trend import one_objective, reference
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

HARM = 0.05  # rise of the mean over its best, in units of what there is to gain
SHORT = 32  # losses a window in a plan of fewer than 20 windows


class LossOscillating(Detector):
    """The training loss jumps up and down from one step to the next.

    Catches:
        Steps that overshoot the valley and come back (a learning rate at the edge of stability), two sources of batches
        that alternate.

    Formula:
        lag-1 autocorrelation of the losses of a window, less a straight line and clipped at 4 robust deviations, below
        ``limit`` in ``confirm`` windows in a row that don't overlap, and their standard deviation above ``amplitude``
        times the chance loss. Independent noise has an autocorrelation of ``-1/n +- 1/sqrt(n)``.

    Reads:
        ``loss/train loss/level loss/relative`` at every step.

    Args:
        limit: autocorrelation below which it oscillates; lower = only clearer swings. Default -0.35: 140 healthy short
            trainings stayed above -0.20.
        amplitude: smallest standard deviation in units of the chance loss (of the first losses where that is not
            known); higher = only larger swings. Default 0.05.
        window: losses a window (half as many in plans shorter than 20 windows); higher = surer, later. Default 64.
        confirm: windows in a row; higher = surer, later. Default 3.

    Fires when:
        info; a warning when, in addition, the mean over those windows is above the best mean of as many losses by 5 %
        of the chance loss and the last tenth of the plan doesn't fall (t above -2): then the swings cost what was
        reached. Not judged with several optimizers or manual optimization.

    False alarms:
        Of 352 simulated healthy runs of 200 to 20,000 steps, 16 got a note, none a warning
        (`benchmarks/results/false_alarms_loss.md`). All 16 alternated between an easy and a hard source of batches:
        their loss does swing, and harmlessly. Recall there: 7 of 10 warned, 10 of 10 noted.

    Cost:
        1.2 µs a step, of which 60 µs a window.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> from lightning_diag.reading import Facts
        >>> judge, rng = Judge([LossOscillating()]), np.random.default_rng(0)
        >>> facts = Facts(planned_steps=2000, chance_loss=2.30)
        >>> for step in range(1, 601):
        ...     swing = 0.4 + 0.4 * (-1) ** step if step > 200 else 0.0
        ...     loss = (1.2 + swing) * np.exp(0.1 * rng.standard_normal())
        ...     for finding in judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}, facts))):
        ...         print(step, finding.first_step, finding.severity)
        384 193 warning

    References:
        Cohen et al., Gradient descent typically occurs at the edge of stability, 2021 (arXiv:2103.00065). Bartlett, On
        the theoretical specification of sampling properties of autocorrelated time series, 1946.
    """

    rule: ClassVar[str] = "loss/oscillating"
    code: ClassVar[str] = "L005"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/level", "loss/relative")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Loss oscillates"
    every_step: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 3

    def __init__(self, limit: float = -0.35, amplitude: float = 0.05, window: int = 64, confirm: int = 3) -> None:
        self.limit = number("limit", limit, -1, 0)
        self.amplitude = number("amplitude", amplitude, 0)
        self.window = whole("window", window, SHORT)
        self.confirm = whole("confirm", confirm, 1)
        super().__init__()

    def _reset(self) -> None:
        self.rests_until = 0
        self._losses: list[float] = []
        self._levels: deque[float] = deque(maxlen=self.confirm)  # mean loss of each window of the present row
        self._began = 0  # step at which the row began
        self._why = "no training loss was read yet"

    def update(self, reading: Reading) -> Finding | None:
        """Gather a window; judge it when it is full."""
        loss = reading.values.get("loss/train")
        if loss is not None and (loss := float(loss)) - loss == 0.0:  # finite
            self._losses.append(loss)
        length = max(SHORT, self._length(reading))
        if len(self._losses) < length:
            self.rests_until = reading.step + length - len(self._losses)
            raise NotMeasurable(self._why)
        losses = np.asarray(self._losses)
        self._losses = []
        self._why = f"judged every {len(losses)} steps only"
        finding = self._judge(reading, losses)
        self.rests_until = reading.step + length
        return finding

    def take(self, reading: Reading) -> None:
        """Gather one more."""
        self._losses.append(float(reading.values["loss/train"]))

    def _length(self, reading: Reading) -> int:
        planned = reading.facts.planned_steps
        return SHORT if planned and planned < 20 * self.window else self.window

    def _judge(self, reading: Reading, losses: NDArray[np.float64]) -> Finding | None:
        try:
            one_objective(reading)
        except NotMeasurable as reason:
            self._why = str(reason)
            raise
        ref = reference(reading)
        if ref is None:
            raise NotMeasurable("the chance loss is not known and the first losses are not positive")
        correlation, deviation = swings(losses)
        if correlation >= self.limit or deviation <= self.amplitude * ref.chance:
            self._levels.clear()
            return None
        if not self._levels:
            self._began = reading.step - len(losses) + 1
        self._levels.append(float(losses.mean()))
        if len(self._levels) < self.confirm:
            return None
        steps = self.confirm * len(losses)
        worse = float(np.mean(self._levels)) - reading.curve.best(steps)
        line = reading.curve.trend(max(steps, (reading.facts.planned_steps or reading.step) // 10))
        harmful = worse > HARM * ref.span and line.t > -2
        return self.found(
            reading,
            Severity.WARNING if harmful else Severity.INFO,
            f"The loss swings by {deviation:.3g} from step to step since step {self._began}: its autocorrelation is "
            f"{correlation:.3g}, the limit {self.limit:g}"
            + (f", and its mean is {worse:.3g} worse than it was" if harmful else "")
            + ".",
            evidence={
                "value": correlation,
                "limit": self.limit,
                "amplitude": deviation / ref.chance,
                "worse": worse,
            },
            advice=(
                "see whether batches alternate between two sources or orders (every second batch harder): then "
                "compare the loss of each source by itself",
                "from the last checkpoint train 200 steps with half the learning rate: swings that vanish came from it",
                "lower the momentum (beta1) to 0.8, or double the batch",
            ),
            step=self._began,
        )


def swings(losses: NDArray[np.float64]) -> tuple[float, float]:
    """Return lag-1 autocorrelation and standard deviation of losses less their line; ``(0, 0)`` when constant.

    >>> swings(np.array([1.0, 3.0] * 32))[0] < -0.9
    True
    """
    x = np.arange(len(losses)) - 0.5 * (len(losses) - 1)
    residual = losses - losses.mean() - x * float(x @ losses) / float(x @ x)
    spread = 4 * 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    if spread > 0:
        residual = np.clip(residual, -spread, spread)
    power = float(residual @ residual)
    if power <= 1e-24 * float(losses @ losses):
        return 0.0, 0.0
    return float(residual[:-1] @ residual[1:]) / power, (power / len(losses)) ** 0.5
