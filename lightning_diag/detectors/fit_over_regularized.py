"""``fit/over-regularized``: dropout or weight decay keeps the network from fitting."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._memorizing import PASSES
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.detectors.setup_adam_with_l2 import COUPLED
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

SHORT, SHORT_LANGUAGE = 0.1, 0.45  # R that is high where weights forget within ``memory`` steps
# share of their first norm, the median weight matrix: healthy runs had 0.8 and more, decay by 1 and more 0 to 0.7
SHRUNK = 0.65
FRESH_LEFT = 0.6  # R that is high for a language model that sees its data a few times only


class FitOverRegularized(Detector):
    """Regularization is so strong that it is what the run ends on.

    Catches:
        A dropout rate that was meant as a keep rate, a weight decay of another optimizer's scale, half of the units
        dropped in a language model that never sees its data often enough to overfit.

    Formula:
        decay: median over weight matrices of ``lr * weight_decay / u`` with u the update-to-weight ratio (what the step
        takes away over all it changes), above ``decay`` for ``window`` samples. Dropout: the largest rate of the model
        at least ``dropout``, or ``fresh`` in a language model whose plan passes over the data at most 4 times: so few
        passes are as good as new data, which nobody can learn by heart. Either with ``R = loss / chance > limit`` after
        ``share`` of the plan, a validation accuracy (if any) not below the training accuracy by more than 0.1, and no
        overfitting. Memory: weights which decay to 1/e within ``1 / (lr * weight_decay) < memory`` steps, ``window``
        samples in a row, average over too few batches: then R above 0.1 (0.45 for a language model) is high, and where
        the weights have shrunk below 0.65 of their first norm (median over weight matrices), a gap between both
        accuracies is no overfitting. Adam with an L2 penalty has no such rate: its decay is strong where the weights
        have shrunk that far.

    Reads:
        ``optimizer/weight_decay lr update/parameter_ratio weight/parameter_norm``, ``loss/relative``, accuracies.

    Args:
        decay: share of the update. Default 0.5: more than half of every step is forgetting.
        dropout: largest dropout rate. Default 0.7 (Srivastava et al. use 0.5 for hidden layers).
        fresh: the same for a language model that passes over its data at most 4 times. Default 0.4 (usual there are 0
            and 0.1): dropout 0.5 cost such models of the fault zoo 4, 15 and 17 % of their loss; those harmed stood
            at R 0.71 and more at 0.3 of the plan, so 0.6 is high then.
        limit: R that is high after so long. Default 0.3.
        share: of the plan; weight decay is judged after a third of it. Default 0.3: of 46 trainings that a decay harmed
            43 are told, 41 of them by 0.1, and none of 18 where it was harmless (the fault zoo's five sets; neither are
            at 0.07).
        window: sampled steps. Default 20.
        memory: steps; higher = fires more. Default 130: with 7 to 111 steps 21 of 23 trainings were harmed, with 167
            and more 1 of 13 was; published recipes have 1,000 and more.

    Fires when:
        a warning. A dropout that high without a high loss, and decay alone, are silent.

    False alarms:
        Tasks whose loss can't fall below 0.3 of chance (language models: 0.7 is asked there), with strong dropout. No
        healthy training of the fault zoo drops more than 0.2.

    Cost:
        O(parameters) a sampled step.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> detector, facts = FitOverRegularized(), Facts(planned_steps=1000, chance_loss=2.3, dropout=0.9)
        >>> for step in range(1, 1001):
        ...     try:
        ...         found = detector.update(Reading(step, 0, {"loss/relative": np.float64(0.8)}, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         break
        >>> step, str(found.severity)
        (300, 'warning')

    References:
        Srivastava et al., Dropout, JMLR 15, 2014. Loshchilov & Hutter, Decoupled weight decay regularization, ICLR
        2019 (arXiv:1711.05101). Wang & Aitchison, How to set AdamW's weight decay as you scale model and dataset size,
        2024 (arXiv:2405.13698): weights as an average over ``1 / (lr * weight_decay)`` steps. Muennighoff et al.,
        Scaling data-constrained language models, NeurIPS 2023 (arXiv:2305.16264): up to 4 passes.
    """

    rule: ClassVar[str] = "fit/over-regularized"
    code: ClassVar[str] = "F005"
    reads: ClassVar[tuple[str, ...]] = ("loss/relative", "optimizer/weight_decay", "accuracy/val")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Too much regularization"
    resolve_after: ClassVar[int | None] = 20

    def __init__(
        self, decay: float = 0.5, dropout: float = 0.7, limit: float = 0.3, share: float = 0.3, window: int = 20,
        memory: float = 130.0, fresh: float = 0.4,
    ) -> None:  # fmt: skip
        self.decay = number("decay", decay, 0, 1)
        self.dropout = number("dropout", dropout, 0, 1)
        self.limit = number("limit", limit, 0, 1)
        self.share = number("share", share, 0, 1)
        self.window = whole("window", window, 2)
        self.memory = number("memory", memory, 0)
        self.fresh = number("fresh", fresh, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._since = -1  # first step whose loss was seen
        self._relative = math.nan
        self._part = math.nan  # running share of the update that is decay
        self._samples = 0
        self._life = math.inf  # steps in which weights decay to 1/e
        self._coupled = False  # whether decay goes through Adam's gradient
        self._short = 0  # samples in a row where they are fewer than ``memory``
        self._train = math.nan
        self._val = math.nan
        self._first = np.zeros(0)  # norm of each weight matrix at first
        self._grown = math.nan  # norm over that, median

    def update(self, reading: Reading) -> Finding | None:
        """Judge once enough of the plan is done."""
        values = reading.values
        if "loss/relative" in values:
            self._relative = float(values["loss/relative"])
            self._since = reading.step if self._since < 0 else self._since
        if "accuracy/train" in values:
            self._train = float(values["accuracy/train"])
        if "accuracy/val" in values:
            self._val = float(values["accuracy/val"])
        if "optimizer/weight_decay" in values:
            self._forgets(reading)
        strong = self._strong(reading.facts)
        if strong is None:
            if reading.facts.dropout is None and not self._samples:
                raise NotMeasurable("neither dropout nor weight decay is known")
            return None
        progress = reading.progress
        watched = reading.step - self._since + 1 if self._since >= 0 else 0
        share = self.share / 3 if self._decays else self.share
        if (progress is None and watched < 1000) or (progress is not None and progress < share):
            raise NotMeasurable(f"judged after {percent(share)} of the plan")
        language = reading.facts.task == "language-model"
        least = FRESH_LEFT if _fresh(reading.facts) and not (self._decays or self._shrunk) else 0.7
        limit = max(self.limit, least) if language else self.limit
        if self._forgetful:
            limit = min(limit, SHORT_LANGUAGE if language else SHORT)
        known = reading.facts.chance_loss is not None
        overfits = self._train - self._val > 0.1 and not (self._forgetful and self._grown < SHRUNK)
        if not known or not self._relative > limit or overfits:
            return None
        return self._finding(reading, limit, *strong)

    @property
    def _forgetful(self) -> bool:
        """Whether weights decay within ``memory`` steps, and have for some time."""
        return self._short >= self.window

    @property
    def _decays(self) -> bool:
        """Whether it is the weight decay that is strong."""
        return self._forgetful or (self._samples >= self.window and self._part > self.decay)

    @property
    def _shrunk(self) -> bool:
        """Whether Adam's L2 penalty has made the weights much smaller than they were."""
        return self._coupled and self._samples >= self.window and self._grown < SHRUNK

    def _strong(self, facts: Facts) -> tuple[str, float, float] | None:
        """What is too strong, in words, its value and its limit; None where nothing is."""
        if self._forgetful:
            what = f"weight decay makes the weights forget within {self._life:.3g} steps (limit {self.memory:g})"
            return what, self._life, self.memory
        if self._shrunk:
            limit = percent(SHRUNK)
            what = f"Adam's L2 penalty has shrunk the weights to {percent(self._grown)} of their start (limit {limit})"
            return what, self._grown, SHRUNK
        if self._decays:
            what = f"weight decay makes up {percent(self._part)} of every update (limit {percent(self.decay)})"
            return what, self._part, self.decay
        dropout, fresh = facts.dropout or 0.0, _fresh(facts)
        most = min(self.dropout, self.fresh) if fresh else self.dropout
        if dropout >= most:
            why = f" for a plan of {PASSES} passes over the data or fewer" if fresh else ""
            what = f"the model drops up to {percent(dropout)} of its units (limit {percent(most)}{why})"
            return what, dropout, most
        return None

    def _forgets(self, reading: Reading) -> None:
        decay, rates = reading.vector("optimizer/weight_decay"), reading.vector("lr")
        ratios = reading.vector("update/parameter_ratio")
        if decay is None or rates is None or ratios is None or len(decay) != len(rates):
            return
        matrices = [i for i, kind in enumerate(reading.facts.parameter_kind) if kind == "matrix" and i < len(ratios)]
        norms = reading.vector("weight/parameter_norm")
        if norms is not None and len(norms) == len(ratios) and matrices:
            self._first = norms[matrices] if len(self._first) != len(matrices) else self._first
            there = self._first > 0
            self._grown = float(np.median(norms[matrices][there] / self._first[there])) if there.any() else math.nan
        known = ratios[matrices] if matrices else ratios
        known = known[np.isfinite(known) & (known > 0)]
        if not known.size:
            return
        coupled = bool(set(COUPLED).intersection(reading.facts.optimizers))
        self._coupled = coupled and float(decay.max(initial=0.0)) > 0
        rate = 0.0 if coupled else float(np.max(rates * decay))
        self._life = 1 / rate if rate > 0 else math.inf
        self._short = self._short + 1 if self._life < self.memory else 0
        part = min(1.0, float(np.max(rates * decay) / np.median(known)))
        self._samples += 1
        self._part = part if math.isnan(self._part) else 0.9 * self._part + 0.1 * part

    def _finding(self, reading: Reading, limit: float, what: str, value: float, most: float) -> Finding:
        relative = self._relative
        return self.found(
            reading,
            Severity.WARNING,
            f"The loss still stands at {percent(relative)} of chance (limit {percent(limit)}) while {what}.",
            evidence={"value": value, "limit": most, "relative": relative},
            advice=(
                "switch it off for a tenth of the plan: if the training loss falls, it was too much; then go up again "
                "until validation stops gaining",
            ),
        )


def _fresh(facts: Facts) -> bool:
    """Whether this is a language model that passes over its data too few times to learn it by heart."""
    planned, epoch = facts.planned_steps, facts.steps_per_epoch
    if facts.task != "language-model" or not planned or not epoch:
        return False
    return planned <= PASSES * epoch
