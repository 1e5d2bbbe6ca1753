"""What the rules over a loss's trend share: the trace, its reference, one objective, a look every so often."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading

T = TypeVar("T")
ADDED = 0.03  # rise of the loss of a guess that shows other labels: a curriculum added some
SETTLE = 20  # steps an estimate of the chance loss must stand
LATE = 10  # a run watched from a later step on has no first losses


@dataclass(frozen=True)
class Reference:
    """What a loss is measured against.

    Attributes:
        chance: loss of the best constant predictor; where it isn't known, the median of the first losses.
        floor: lowest loss that can be reached.
        known: whether ``chance`` really is chance.
    """

    chance: float
    floor: float
    known: bool

    @property
    def span(self) -> float:
        """All there is to gain, in units of the loss."""
        return self.chance - self.floor

    def relative(self, loss: float) -> float:
        """Return 1 at chance, 0 at the floor."""
        return (loss - self.floor) / self.span

    def loss(self, relative: float) -> float:
        """The loss at this relative level."""
        return self.floor + relative * self.span

    @property
    def name(self) -> str:
        """The same in words."""
        return "chance" if self.known else "its first losses"


def reference(reading: Reading, first_losses: float = 0.0) -> Reference | None:
    """Return what the loss of this reading is measured against, or None where nothing positive is known.

    Args:
        reading: its facts hold the chance loss, else its loss signals the median of the first losses.
        first_losses: that median, where the reading holds no loss signals.
    """
    facts = reading.facts
    if facts.chance_loss is not None and facts.chance_loss > 0:
        floor = facts.loss_floor if facts.loss_floor < facts.chance_loss else 0.0
        return Reference(facts.chance_loss, floor, True)
    level, relative = reading.scalar("loss/level"), reading.scalar("loss/relative")
    if level and relative:
        first_losses = level / relative
    return Reference(first_losses, 0.0, False) if first_losses > 0 else None


def several_classes(facts: Facts) -> bool:
    """Whether three classes or more are told apart: with two most of the loss may not be learnable."""
    return facts.task == "classification" and (facts.num_classes or 0) >= 3


def of_task(reading: Reading, classes: T, numbers: T, language: T) -> T:
    """Return the limit for what is learned: three classes or more, numbers, or language and two classes.

    Most of the loss of the last can't be learned.
    """
    if several_classes(reading.facts):
        return classes
    return numbers if reading.facts.task == "regression" else language


def labels_added(facts: Facts, before: float) -> bool:
    """Whether guessing costs surely more than the chance loss ``before`` (0 = it wasn't known then)."""
    return (facts.chance_loss or 0.0) > (1 + ADDED) * before


def not_competing(reading: Reading) -> None:
    """Raise where several optimizers follow losses of their own, whose mean says nothing when it rises.

    Raises:
        NotMeasurable: they do, or it isn't known yet.
    """
    facts = reading.facts
    if facts.competing:
        names = " and ".join(facts.optimizers[:3])
        raise NotMeasurable(f"{len(facts.optimizers)} optimizers ({names}): losses that compete need not fall")


def one_objective(reading: Reading) -> None:
    """Raise where the loss of one run need not fall.

    Raises:
        NotMeasurable: several optimizers with losses of their own, or the user drives the optimizer by hand.
    """
    not_competing(reading)
    if not reading.facts.automatic_optimization and not reading.facts.shared_loss:
        raise NotMeasurable("manual optimization: which loss a step follows is not known, so it need not fall")


def interval(reading: Reading) -> int:
    """Steps from one look to the next: 0.5 % of the plan (2 % of the steps so far without one), at least 10."""
    planned = reading.facts.planned_steps
    return max(10, planned // 200 if planned else reading.step // 50)


class TrendDetector(Detector):
    """Base of the rules that look at the whole curve now and then.

    Every :func:`interval` steps ``_look`` judges the reading's ``curve``. In between the rule rests and is not judged
    (``NotMeasurable`` with the reason of the last look): its lifecycle counts looks, not steps. Windows are in steps,
    one loss each.
    """

    every_step: ClassVar[bool] = True
    chance_error: ClassVar[float] = 0.0  # relative change of the chance loss that makes no difference to the rule

    def _reset(self) -> None:
        self._rates = LrWatch()
        self._since = -1  # first step seen
        self._chance = 0.0  # chance loss (0 = unknown) and the step since which it stands
        self._chance_since = 0
        self._next = self.rests_until = 0
        self._why = "no training loss was read yet"

    def update(self, reading: Reading) -> Finding | None:
        """Every so often judge the curve."""
        if "lr" in reading.values:
            self._rates.see(reading)
        if not self._due(reading):
            raise NotMeasurable(self._why)
        if self._since < 0:
            self._since = reading.step
        chance = reading.facts.chance_loss or 0.0
        if abs(chance - self._chance) > self.chance_error * self._chance:
            self._chance, self._chance_since = chance, reading.step
        try:
            one_objective(reading)
            finding = self._look(reading)
        except NotMeasurable as reason:
            self._why = str(reason)
            raise
        self._why = "judged every few steps only"
        return finding

    def _due(self, reading: Reading) -> bool:
        """Whether this reading is looked at."""
        if reading.step < self._next or "loss/level" not in reading.values:
            return False
        self._next = self.rests_until = reading.step + interval(reading)
        return True

    def _settled(self, reading: Reading) -> None:
        """Raise while the chance loss is still being estimated: the entropy of a few labels is too low.

        The plug-in entropy of N labels of K classes is too low by about ``(K - 1) / 2N`` (Miller, 1955), so an estimate
        that didn't change over the last half of the run is too low by no more than what counts as a change.

        Raises:
            NotMeasurable: it changed within the last 20 steps, or within the last half of what was watched.
        """
        watched = reading.step - self._since
        if self._chance and reading.step - self._chance_since < max(SETTLE, watched // 2):
            raise NotMeasurable("the chance loss is still being estimated from the labels seen")

    @abstractmethod
    def _look(self, reading: Reading) -> Finding | None:
        """Judge the curve at this reading."""
