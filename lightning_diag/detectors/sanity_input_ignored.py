"""``sanity/input-ignored``: the output is the same whatever the input."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import SURE_STEPS, Consequence
from lightning_diag.detectors._layers import spot
from lightning_diag.detectors._modules import first_called
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

VARIES = 0.01  # variation of the last module in training from which inputs do reach it there ...
LATELY = 10  # ... at one of the last so many samples: units that are nearly dead let little through


class SanityInputIgnored(Detector):
    """What a module gives doesn't change when its input is replaced by another sample's.

    Catches:
        A head that is fed a constant, an input overwritten or multiplied by zero on the way, an index that picks the
        same entry for every sample, a network that died.

    Formula:
        Largest change of the output, of 4 samples taken in another order, over the output's root mean square, in
        evaluation mode: at most ``limit`` at ``looks`` looks (sampled steps 1, 4, 10, 40, 160). The place is the
        innermost layer whose input changes and whose output doesn't.

    Reads:
        ``sanity/input_effect sanity/looks sanity/lost_at``, ``loss/relative activation/variation`` beside them.

    Args:
        limit: relative change that counts as none; higher = more findings. Default 1e-6: ten roundings of float32;
            an input that is left out gives exactly 0.
        looks: looks in a row; higher = later. Default 3: a last layer that starts at zero ignores its input until
            the first step that has a learning rate.
        stuck: R (``loss/relative``) above which the run suffers; higher = fewer warnings. Default 0.9.

    Fires when:
        it holds at ``looks`` looks (info); a warning when R > ``stuck`` after 2 % of the plan (60 to 1,000 steps; 30
        when R > 0.985). Never critical. Info where, with normalization layers and no dropout, what the last module
        gives in training differs between samples: then it is evaluation mode alone that loses the input, as batch
        norm's running statistics have not come near those of a batch yet.

    False alarms:
        None in 193 healthy trainings of 12 networks, no note either (benchmarks/results/sanity_rules.md); 12 of 12
        planted faults were warned of. Outputs that saturated at the same value
        for all four samples count as ignored: so they are, as far as training can tell.

    Cost:
        10 µs a look; nothing after the first look that found nothing.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=500, chance_loss=2.3, names={"call": ("net",), "layer": ("net.0", "net")})
        >>> detector = SanityInputIgnored()
        >>> for look, step in enumerate((1, 4, 10, 40, 160), start=1):
        ...     values = {"sanity/input_effect": [0.0], "sanity/lost_at": [0.0, 1.0], "loss/relative": 1.0}
        ...     values["sanity/looks"] = float(look)
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     print(step, finding.severity, finding.where)
        10 info ('net',)
        40 warning ('net',)
        160 warning ('net',)

    References:
        Karpathy, A recipe for training neural networks, 2019: "input-independent baseline"; Adebayo et al., Sanity
        checks for saliency maps, NeurIPS 2018 (arXiv:1810.03292).
    """

    rule: ClassVar[str] = "sanity/input-ignored"
    code: ClassVar[str] = "X002"
    reads: ClassVar[tuple[str, ...]] = ("sanity/input_effect",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "The input is ignored"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, limit: float = 1e-6, looks: int = 3, stuck: float = 0.9) -> None:
        self.limit = number("limit", limit, 0)
        self.looks = whole("looks", looks, 1)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=SURE_STEPS)
        self._since = -1
        self._look = 0  # the first that found it
        self._varied: list[bool] = []  # at the last samples, in training

    def update(self, reading: Reading) -> Finding | None:
        """Judge what changed inputs do to the outputs."""
        self._run.see(reading)
        self._varied = [*self._varied, _varies_in_training(reading)][-LATELY:]
        effect = reading.vector("sanity/input_effect")
        known = np.isfinite(effect) if effect is not None else np.zeros(0, bool)
        if effect is None or not known.any():
            raise NotMeasurable(reading.facts.unmeasured.get("sanity/input_effect", "no output could be compared"))
        ignored = known & (effect <= self.limit)
        if not ignored.any():
            self._since = -1
            return None
        look = int(reading.scalar("sanity/looks") or 0)
        if self._since < 0:
            self._since, self._look = reading.step, look
        if look - self._look + 1 < self.looks:
            raise NotMeasurable("the input had no effect so far: looked at again after a few steps")
        return self._finding(reading, ignored, float(effect[ignored].max()))

    def _finding(self, reading: Reading, ignored: np.ndarray, value: float) -> Finding:
        names = reading.names("call")
        call = names[int(np.argmax(ignored))] if len(names) == len(ignored) else "the model"
        place = spot(reading, "sanity/lost_at")
        trains = any(self._varied)
        suffers = self._run.stuck(self.stuck) and not trains
        loss = self._run.in_words(suffers)
        lost = "" if place is None or str(place) == call else f"; the input is lost in {place}"
        name = call if place is None else place.name
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"What {call} gives changes by {value:.1g} of its size when the inputs of 4 samples are swapped (limit "
            f"{self.limit:g}): the input is ignored{' in evaluation mode' * trains} since step {self._since}{lost}"
            f"{loss}.",
            where=(name,),
            evidence={"value": value, "limit": self.limit, "relative_loss": self._run.relative},
            advice=(
                f"call {name} with two different samples and print what goes in and what comes out of each line of its "
                "forward",
                "train 50 steps with the inputs set to zero: if the loss curve is the same, nothing reads them",
            ),
            step=self._since,
        )


def _varies_in_training(reading: Reading) -> bool:
    """Whether samples differ at the end of the network in training, and nothing random can be why."""
    facts, varies = reading.facts, reading.vector("activation/variation")
    if not facts.normalized or facts.dropout or varies is None:
        return False
    order = first_called(reading, np.isfinite(varies))
    return bool(order) and float(varies[order[-1]]) > VARIES
