"""``sanity/batch-mixing``: a sample's output depends on the other samples of the batch."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._consequence import Consequence
from lightning_diag.detectors._layers import spot
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class SanityBatchMixing(Detector):
    """When one sample is replaced, outputs of other samples of the batch change too.

    Catches:
        A ``view`` or ``reshape`` that should have been a ``transpose``, a softmax, mean or attention over dimension 0,
        an LSTM without ``batch_first=True`` that takes the batch for time.

    Formula:
        Sample 0 of 4 is replaced by sample 1, in evaluation mode: the largest change in the outputs of the others, over
        the largest in its own, above ``limit``. The place is the innermost layer into which the others' inputs come
        unchanged and out of which they don't. Batch norm in evaluation mode doesn't mix; without running statistics,
        or a norm over the batch of any other name, it does by design and is not judged; nor is what gives a table of
        pairs of samples (contrastive losses).

    Reads:
        ``sanity/mixing sanity/mixed_at`` at the second look (the first only makes it look inside), ``loss/relative``
        beside them.

    Args:
        limit: share of its own change that others may take part in; higher = fewer findings. Default 0.01: a mean
            over 4 samples gives 0.25 or more, samples that are kept apart give exactly 0.
        stuck: R (``loss/relative``) above which the run suffers; higher = fewer warnings. Default 0.9.

    Fires when:
        it holds at two looks (info: some models compare samples on purpose); a warning when R > ``stuck`` after 2 % of
        the plan (60 to 1,000 steps). Never critical.

    False alarms:
        None in 193 healthy trainings of 12 networks, no note either (benchmarks/results/sanity_rules.md); 34 of 34
        planted faults were found, 30 warned of, the others trained well all the same. Models that compare samples of a
        batch in evaluation mode on purpose (mixture-of-experts capacity, attention between samples) get a note.

    Cost:
        10 µs a look; nothing after the first look that found nothing.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=500, chance_loss=2.3, names={"call": ("net",), "layer": ("net.0", "net")})
        >>> detector = SanityBatchMixing()
        >>> for step in (1, 4, 10, 40, 160):
        ...     values = {"sanity/mixing": [0.8], "sanity/mixed_at": [0.0, 1.0], "loss/relative": 1.0}
        ...     if step == 1:
        ...         del values["sanity/mixed_at"]
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     print(step, finding.severity, finding.where)
        4 info ('net',)
        10 info ('net',)
        40 info ('net',)
        160 warning ('net',)

    References:
        Karpathy, A recipe for training neural networks, 2019: "use backprop to chart dependencies".
    """

    rule: ClassVar[str] = "sanity/batch-mixing"
    code: ClassVar[str] = "X003"
    reads: ClassVar[tuple[str, ...]] = ("sanity/mixing",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Samples of a batch mix"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, limit: float = 0.01, stuck: float = 0.9) -> None:
        self.limit = number("limit", limit, 0)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence()
        self._since = -1

    def update(self, reading: Reading) -> Finding | None:
        """Judge what a changed sample does to the others."""
        self._run.see(reading)
        mixing = reading.vector("sanity/mixing")
        known = np.isfinite(mixing) if mixing is not None else np.zeros(0, bool)
        if mixing is None or not known.any():
            raise NotMeasurable(reading.facts.unmeasured.get("sanity/mixing", "no output could be compared"))
        mixed = known & (mixing > self.limit)
        if not mixed.any():
            self._since = -1
            return None
        if self._since < 0:
            self._since = reading.step
        if "sanity/mixed_at" not in reading:
            raise NotMeasurable("samples seem to mix: looked at again after a few steps")
        place = spot(reading, "sanity/mixed_at")
        if place is not None and place.norm:
            raise NotMeasurable(f"{place.name} normalizes over the batch in evaluation mode: samples mix by design")
        worst = int(np.nanargmax(np.where(mixed, mixing, np.nan)))
        names = reading.names("call")
        call = names[worst] if len(names) == len(mixing) else "the model"
        suffers = self._run.stuck(self.stuck)
        loss = self._run.in_words(suffers)
        spotted = "" if place is None or str(place) == call else f"; they mix in {place}"
        name = call if place is None else place.name
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"When one of 4 samples is replaced, what {call} gives for the others changes {mixing[worst]:.2g} times as "
            f"much as its own (limit {self.limit:g}), in evaluation mode{spotted}{loss}.",
            where=(name,),
            evidence={"value": float(mixing[worst]), "limit": self.limit, "relative_loss": self._run.relative},
            advice=(
                f"print the shapes line by line in the forward of {name}: dimension 0 must stay the samples' through "
                "every view, reshape, softmax and mean",
                "use permute or transpose to swap dimensions; view and reshape only cut the same order anew",
                "an LSTM, GRU or attention layer needs batch_first=True for inputs of (samples, time, features)",
            ),
            step=self._since,
        )
