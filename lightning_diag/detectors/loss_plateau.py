"""``loss/plateau``: the training loss stands still far from its floor."""

from __future__ import annotations

from typing import ClassVar

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._trend import LATE, TrendDetector, reference
from lightning_diag.detectors._words import percent
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

HARD = 0.85  # ``limit`` where a high level says little
MIN_DECAY = 0.1  # learning rate over its peak below which a loss stands still because it is told to


class LossPlateau(TrendDetector):
    """The training loss stands still, far from its floor, for a long share of the plan.

    Catches:
        A run that spends its budget without getting on, while the learning rate is still high enough to move it.

    Formula:
        over the last ``share`` of the plan: ``R > limit`` and ``|rise| + 2 se < flat`` with ``rise`` the slope's rise
        over that window and ``se`` the larger of its robust and its plain standard error, in units of ``chance -
        floor``. That is a test of equivalence: a noisy loss, whose slope is merely not known, is no plateau. It ends
        when ``|rise| - 2 se > flat / 2``.

    Reads:
        ``loss/train loss/level loss/relative`` at every step; ``lr`` where sampled.

    Args:
        limit: R above which the loss is far from its floor; higher = fires on fewer runs. Default 0.5; at least 0.85
            for a language model (most of its loss can't be learned) and where chance isn't known.
        share: window as a share of the plan (without a plan: half of the steps so far); higher = later. Default 0.25.
        min_steps: shortest window in steps; higher = later in short runs. Default 100.
        flat: largest rise or fall (part of all there is to gain) that still is standing still; higher = fires on slower
            progress. Default 0.05.
        chance: R from which a plateau is at chance level and a warning; higher = fewer warnings. Default 0.97.

    Fires when:
        info; a warning at chance level (chance known). Many models end on such a plateau, because the rest of the loss
        is noise in the labels, and some leave it with a jump, so mere standing still is not called harm. Not judged
        once the learning rate fell below a tenth of its peak, nor with several optimizers or manual optimization.

    False alarms:
        Of 352 simulated healthy runs of 200 to 20,000 steps, 4 got a note (they stood still before they dropped), none
        a warning (`benchmarks/results/false_alarms_loss.md`). A run that sits at chance for 40 % of its plan and then
        drops gets the warning; it resolves.

    Cost:
        1.5 µs a step, of which 0.1 ms at every look (0.5 % of the plan).

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> from lightning_diag.reading import Facts
        >>> judge, rng = Judge([LossPlateau()]), np.random.default_rng(0)
        >>> facts = Facts(planned_steps=2000, chance_loss=2.30)
        >>> for step in range(1, 2001):
        ...     loss = 2.30 * (0.8 + 0.2 * np.exp(-step / 100)) * np.exp(0.1 * rng.standard_normal())
        ...     for finding in judge.update(judge.enrich(Reading(step, 0, {"loss/train": np.float64(loss)}, facts))):
        ...         print(step, finding.severity)
        671 info

    References:
        Schuirmann, A comparison of the two one-sided tests procedure, J. Pharmacokin. Biopharm. 15, 1987 (equivalence).
        Power et al., Grokking, 2022 (arXiv:2201.02177): long plateaus end in healthy runs, too.
    """

    rule: ClassVar[str] = "loss/plateau"
    code: ClassVar[str] = "L004"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "loss/level", "loss/relative", "lr")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Loss stands still"
    resolve_after: ClassVar[int | None] = 3

    def __init__(
        self, limit: float = 0.5, share: float = 0.25, min_steps: int = 100, flat: float = 0.05, chance: float = 0.97
    ) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.share = number("share", share, 0.05, 0.9)
        self.min_steps = whole("min_steps", min_steps, 40)
        self.flat = number("flat", flat, 0.001, 0.5)
        self.chance = number("chance", chance, limit, 2)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._holds = False

    def _look(self, reading: Reading) -> Finding | None:
        ref = reference(reading)
        if ref is None:
            raise NotMeasurable("the chance loss is not known and the first losses are not positive")
        if not ref.known and self._since > LATE:
            raise NotMeasurable(f"watched from step {self._since} on, and the chance loss is not known")
        planned = reading.facts.planned_steps
        window = max(self.min_steps, int(self.share * planned) if planned else reading.step // 2)
        if len(reading.curve) < window + self.min_steps // 2:
            raise NotMeasurable(f"needs {window + self.min_steps // 2} steps")
        if self._rates.decay < MIN_DECAY:
            raise NotMeasurable(f"the learning rate fell to {percent(self._rates.decay)} of its peak")
        if self._rates.rising(reading.step, window):
            raise NotMeasurable("the learning rate rose within the window")
        self._settled(reading)
        line = reading.curve.trend(window)
        relative, se = ref.relative(min(line.level, line.mean)), max(line.se, 12**0.5 * line.error)
        moved, moves = (abs(line.change) + 2 * se) / ref.span, (abs(line.change) - 2 * se) / ref.span
        blind = not ref.known or reading.facts.task == "language-model"
        limit = max(self.limit, HARD) if blind else self.limit
        # a plateau ends only when the loss clearly moves: it would flicker otherwise
        self._holds = relative > limit and (moves <= 0.5 * self.flat if self._holds else moved < self.flat)
        if not self._holds:
            return None
        at_chance = ref.known and relative >= self.chance
        left = f", with {percent(1 - reading.progress)} of the plan to go" if reading.progress is not None else ""
        return self.found(
            reading,
            Severity.WARNING if at_chance else Severity.INFO,
            f"The loss has stood still at {line.level:.4g} ({percent(relative)} of {ref.name}, limit "
            f"{percent(limit)}) for {line.steps} steps: it moved by at most {percent(moved)} of what there is "
            f"to gain (limit {percent(self.flat)}){left}.",
            evidence={
                "value": moved,
                "limit": self.flat,
                "relative": relative,
                "level": line.level,
                "window_steps": line.steps,
            },
            advice=(
                "train on one fixed batch for 100 steps: if that falls, the model can learn, and the data (its "
                "variety, its labels) sets the level",
                "from the last checkpoint train 200 steps with the learning rate times 3 and divided by 3: a step of "
                "the level tells which way to go",
                "compare with the loss a linear model or the last published result reaches: the rest may be label "
                "noise",
            ),
            step=max(1, reading.step - line.steps + 1),
        )
