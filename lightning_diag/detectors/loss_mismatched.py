"""``loss/mismatched``: the loss doesn't fit the outputs it is given, or has the wrong sign."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import whole
from lightning_diag.detectors._consequence import Consequence
from lightning_diag.detectors.base import NEVER, Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

TOLERANCE = 1e-4  # relative: the recomputed loss is the same arithmetic, in float32
TOLERANCE_HALF = 1e-2
NEGATED = 2.0  # relative difference of a loss to its own negative
HALF = 0.5  # share of what can be gained above which a run that had its time suffers
LATE, TIMES = 0.25, 5  # its time: this share of the plan, or so many times what other rules wait, whichever is less
PATIENT = 2  # times as long where it is only the range of the outputs that tells
SEVERAL = 3  # classes from which all scores of 20 batches lie between 0 and 1 by no chance


@dataclass(frozen=True)
class Slip:
    """What is wrong and what to do about it.

    Attributes:
        what: the end of the sentence "The loss is ...".
        do: the repair.
        lost: whether nothing right can be learned from it.
        patient: whether outputs may look like that by chance at first, so that many batches have to agree.
    """

    what: str
    do: str
    lost: bool = False
    patient: bool = False


_LOGITS = "hand the scores themselves to the loss: take the softmax away, and apply it where probabilities are shown"
_SIGMOID = "hand the scores themselves to the loss: take the sigmoid away, and apply it where probabilities are shown"
_CHOICE = "take the sigmoid away: of several classes one is right, so the loss has its own softmax"
SLIPS: dict[str, Slip] = {
    "double softmax": Slip("cross-entropy of probabilities: a softmax comes before the loss's own", _LOGITS),
    "softmax of probabilities": Slip("cross-entropy of probabilities: a softmax comes before the loss's own", _LOGITS),
    "softmax of sigmoids": Slip("cross-entropy of sigmoids: a sigmoid comes before the loss's own softmax", _CHOICE),
    "sigmoids as scores": Slip(
        "cross-entropy of outputs that all lie between 0 and 1: a sigmoid comes before the loss's own softmax", _CHOICE,
        patient=True),
    "likelihood of scores": Slip(
        "minus the mean score of the right class: the logarithm of the softmax is missing",
        "use cross_entropy in the place of nll_loss, or log_softmax before it", lost=True),
    "likelihood of probabilities": Slip(
        "minus the mean probability of the right class: the logarithm is missing",
        "use cross_entropy on the scores, or log_softmax and not softmax before nll_loss"),
    "double sigmoid": Slip("binary cross-entropy of probabilities: a sigmoid comes before the loss's own", _SIGMOID),
    "sigmoids as logits": Slip(
        "binary cross-entropy with logits of outputs that all lie between 0 and 1: a sigmoid comes before the loss's "
        "own", _SIGMOID, patient=True),
    "broadcast mse": Slip(
        "the squared error of every output against every target of the batch: shapes (B, 1) and (B,) were broadcast",
        "give outputs and targets one shape: output.squeeze(-1), or target.unsqueeze(-1)", lost=True),
    "softmax over the batch": Slip(
        "made of a softmax over the samples of the batch, not over the classes: it runs along dimension 0",
        "give the softmax dim=1 (dim=-1), or leave it away and use cross_entropy", lost=True),
}  # fmt: skip
_NEGATED = Slip("", "take the minus away: the optimizer minimizes", lost=True)
_ONE_HOT = {"double softmax", "softmax of probabilities", "softmax of sigmoids", "sigmoids as scores"}


class LossMismatched(Detector):
    """The loss doesn't fit the outputs it is given: a softmax too many, a logarithm too few, a wrong sign or shape.

    Catches:
        Softmax or sigmoid before a cross-entropy that has its own, ``nll_loss`` without ``log_softmax`` or with
        one over the samples, a loss that is maximized, outputs ``(B, 1)`` against targets ``(B,)``.

    Formula:
        The batch's loss is recomputed from outputs and targets as it would be with each slip. It is that slip when the
        relative difference is below 1e-4 (1e-2 in half precision) in ``batches`` sampled batches in a row, and for
        outputs that merely lie between 0 and 1 in ``many``. Negated: below zero, and twice as far from the right one.

    Reads:
        ``loss/slip chance/error`` of the first sampled batches; ``loss/train loss/level`` beside them.

    Args:
        batches: sampled batches in a row that must agree; higher = later. Default 3.
        many: the same where outputs could lie between 0 and 1 by chance; higher = later, quieter. Default 20.

    Fires when:
        a warning at once where nothing right can be learned (wrong sign, no softmax at all, wrong shape). Else info,
        and a warning when more than half of what can be gained is still there after a quarter of the plan (5,000 steps
        at most): a softmax too many slows training down, and on easy data does no harm that can be measured. Outputs
        that merely lie between 0 and 1 get twice as long, are no note before, and none once they leave that range; two
        scores alone may lie there by chance.

    False alarms:
        Another loss would have to have the same value, to four digits, in each of these batches. Outputs that lie
        between 0 and 1 say less: two scores of a small network with sigmoids did so for a quarter of a plan in 5 of 320
        healthy and harmless runs (`docs/accuracy.md`); since then two are no evidence, and others get half of the plan.
        ``nll_loss`` of logarithms of probabilities, label smoothing, mixed or soft targets and binary cross-entropy of
        probabilities are other numbers. Who maximizes a loss on purpose (unlearning) gets the warning.

    Cost:
        0.4 µs a step; the recomputation two more softmaxes in at most 64 sampled batches.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=500, num_classes=10, names={"slip": ("double softmax", "broadcast mse")})
        >>> detector = LossMismatched()
        >>> for step in range(1, 201):
        ...     values = {"loss/slip": np.array([1e-7, np.nan]), "loss/level": np.float64(2.2)}
        ...     finding = detector.update(Reading(step, 0, values, facts))
        ...     if finding is not None and step in (3, 125):
        ...         print(step, finding.severity)
        3 info
        125 warning

    References:
        Islam et al., A comprehensive study on deep learning bugs, ESEC/FSE 2019 (arXiv:1906.01388), and Humbatova et
        al., Taxonomy of real faults in deep learning systems, ICSE 2020 (arXiv:1910.11015): wrong loss function and
        wrong last activation are among the most frequent. Nikanjam et al., NeuraLint, TOSEM 2021, checks the same in
        the source.
    """

    rule: ClassVar[str] = "loss/mismatched"
    code: ClassVar[str] = "L009"
    reads: ClassVar[tuple[str, ...]] = ("loss/slip", "chance/error", "loss/level")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Loss and outputs don't match"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, batches: int = 3, many: int = 20) -> None:
        self.batches = whole("batches", batches, 1)
        self.many = whole("many", many, batches)
        super().__init__()

    def _reset(self) -> None:
        self.rests_until = 0
        self._run = Consequence()
        self._rows: dict[str, int] = {}  # slip -> sampled batches in a row that agreed
        self._slip = ""  # the one that was recognized
        self._refuted: list[str] = []
        self._since = 0
        self._judged = False

    def update(self, reading: Reading) -> Finding | None:
        """Compare a batch's loss with each slip's."""
        if self._slip or self._run.step < 0 or not reading.values.keys().isdisjoint(self.reads[:2]):
            self._run.see(reading)  # at a loss alone only once a slip is known: it is asked how the run goes on
        self._compare(reading)
        self.rests_until = 0 if self._slip else NEVER
        if self._slip:
            return self._finding(reading)
        if not self._judged:
            raise NotMeasurable("outputs and targets that fit each other were not found")
        return None

    def _compare(self, reading: Reading) -> None:
        half = "16" in (reading.facts.precision or "")
        tolerance = TOLERANCE_HALF if half else TOLERANCE
        errors, names = reading.vector("loss/slip"), reading.names("slip")
        if errors is not None and len(errors) == len(names):
            self._count(reading, dict(zip(names, np.nan_to_num(errors, nan=math.inf) <= tolerance, strict=True)))
        errors, names, loss = reading.vector("chance/error"), reading.names("candidate"), reading.scalar("loss/train")
        if errors is not None and loss is not None and len(errors) == len(names):
            held = (np.abs(np.nan_to_num(errors) - NEGATED) <= 2 * tolerance) & (loss < 0)
            self._count(reading, {f"negated {name}": bool(hit) for name, hit in zip(names, held, strict=True)})

    def _count(self, reading: Reading, held: dict[str, bool]) -> None:
        self._judged = True
        for name, hit in held.items():
            count = self._rows[name] = self._rows.get(name, 0) + 1 if hit else 0
            if name == self._slip and not hit and _of(name).patient:
                self._slip, self._refuted = "", [*self._refuted, name]  # outputs that lay between 0 and 1 for a while
            if not self._slip and name not in self._refuted and count >= self._needed(name):
                self._slip, self._since = name, reading.step

    def _finding(self, reading: Reading) -> Finding | None:
        slip, left, agreed = _of(self._slip), self._left(reading.facts), self._needed(self._slip)
        suffers = slip.lost or (self._late(reading.facts, PATIENT if slip.patient else 1) and left > HALF)
        if slip.patient and (not suffers or 1 < (reading.facts.num_classes or 0) < SEVERAL):
            return None  # they may leave that range yet
        what = slip.what or f"minus the {self._slip.removeprefix('negated ')}: it is maximized"
        stands = f", and {100 * left:.0f} % of what it could gain is left" if suffers and not slip.lost else ""
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"The loss is {what} (equal to four digits in {agreed} batches in a row){stands}.",
            evidence={"value": left if stands else float(agreed), "limit": HALF if stands else agreed,
                      "loss": self._run.level, "slip": self._slip},
            advice=(
                slip.do,
                "give the loss predictions that are right by construction: it must come out as its lowest value",
            ),
            step=self._since,
        )  # fmt: skip

    def _late(self, facts: Facts, times: int) -> bool:
        run = self._run
        wait = times * min(LATE * (facts.planned_steps or math.inf), TIMES * run.patience_steps)
        return run.ripe and run.watched >= wait

    def _needed(self, name: str) -> int:
        """Batches in a row that must agree."""
        return self.many if _of(name).patient else self.batches

    def _left(self, facts: Facts) -> float:
        """Share of what can be gained that is still there, NaN where not known.

        With K classes cross-entropy of numbers from 0 to 1 lies between ``log(e + K - 1) - 1`` and about ``log K``,
        minus a probability between -1 and ``-1 / K``, binary cross-entropy of them between 0.31 and 0.69 at best.
        """
        low, high = _bounds(self._slip, facts.num_classes or 0)
        return (self._run.level - low) / (high - low)


def _of(name: str) -> Slip:
    return SLIPS.get(name, _NEGATED)


def _bounds(slip: str, classes: int) -> tuple[float, float]:
    """Lowest and chance loss with this slip; NaN where not known.

    >>> [tuple(round(x, 3) for x in _bounds(s, 10)) for s in ("double softmax", "likelihood of probabilities")]
    [(1.461, 2.303), (-1.0, -0.1)]
    """
    if slip in _ONE_HOT and classes > 1:
        return math.log(math.e + classes - 1) - 1, math.log(classes)
    if slip == "likelihood of probabilities" and classes > 1:
        return -1.0, -1 / classes
    if slip in ("double sigmoid", "sigmoids as logits"):
        return math.log(1 + math.e) - 1, math.log(2)
    return math.nan, math.nan
