"""``classes/neglected``: the model learns the other classes and not this one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._classes import Pass, Settled, counts, no_tokens, wilson
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5
EARLY = 0.25  # share of the plan in which a hard class may still come
RARE = 0.3  # share of an even share in training under which a class is called rare in the advice


class ClassNeglected(Detector):
    """A class is hardly ever recognized while the others are.

    Catches:
        Classes missing or rare in training, label mix-ups (two ids for one class), a head that lost an output.

    Formula:
        Wilson lower bound (95 %) of the class's error, against the error over all samples.

    Reads:
        ``class/support``, ``class/right``, ``class/train_support`` after each validation pass.

    Args:
        error: lower bound of the class's error above which it is neglected; higher = only classes that are never right.
            Default 0.8: the hardest class of a healthy run (shirts) had 0.76, mixed-up and lost ones 0.81 and more.
        others: error over all samples below which the others count as learned; higher = sooner. Default 0.35.
        evaluations: validation passes in a row; higher = later, surer. Default 4.
        support: samples the class needs in a pass. Default 10.

    Fires when:
        both hold ``evaluations`` times in a row, after 80 steps and a quarter of the plan, while the mean error has
        stopped falling fast (by less than a fifth over as many passes); warning.

    False alarms:
        A class of 5 samples is never judged; a hard class is one whose error stays high, which is what this says.

    Cost:
        O(K) a validation pass.

    Examples:
        >>> detector = ClassNeglected()
        >>> right = np.full(10, 28.0) * (np.arange(10) != 4)
        >>> for epoch in range(7):
        ...     values = {"class/support": np.full(10, 30.0), "class/right": right, "class/predicted": right}
        ...     found = detector.update(Reading(100 * (epoch + 1), epoch, values, stage="validation"))
        >>> found.epoch, found.where
        (6, ('class 4',))

    References:
        Wilson, Journal of the American Statistical Association 22, 1927 (the bound).
    """

    rule: ClassVar[str] = "classes/neglected"
    code: ClassVar[str] = "C003"
    reads: ClassVar[tuple[str, ...]] = ("class/support",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "A class is not learned"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, error: float = 0.8, others: float = 0.35, evaluations: int = 4, support: int = 10) -> None:
        self.error = number("error", error, 0.0, 1.0)
        self.others = number("others", others, 0.0, 1.0)
        self.evaluations = whole("evaluations", evaluations, 1)
        self.support = whole("support", support, 1)
        super().__init__()

    def _reset(self) -> None:
        self._rows: list[int] = []
        self._settled = Settled(self.evaluations)

    def update(self, reading: Reading) -> Finding | None:
        """Judge one validation pass."""
        no_tokens(reading)
        seen = counts(reading)
        low, _ = wilson(seen.support - seen.right, seen.support)
        poor = (low > self.error) & (seen.support >= self.support)
        settled = self._settled.push(seen.total_error)
        if seen.total_error > self.others or not settled or (reading.progress or 1.0) < EARLY:
            poor[:] = False
        rows = np.array(self._rows) if len(self._rows) == poor.size else np.zeros(poor.size)
        rows = np.where(poor, rows + 1, 0)
        self._rows = [int(r) for r in rows]
        places = np.flatnonzero(rows >= self.evaluations)
        return self._finding(reading, seen, places) if places.size else None

    def _finding(self, reading: Reading, seen: Pass, places: np.ndarray[Any, Any]) -> Finding:
        order = sorted((int(k) for k in places), key=lambda k: -float(seen.error[k]))
        worst = order[0]
        train = reading.vector("class/train_support")
        known = train is not None and train.size == seen.support.size and train.sum() > 0
        share = float(train[worst] / train.sum()) if known and train is not None else float("nan")
        rare = known and share < RARE / seen.support.size
        seen_in_training = f", {percent(share)} of the training samples seen" if known else ""
        more = _more(len(order) - 1)
        first = (
            f"draw the samples of {seen.names[worst]} as often as those of the others (a weighted sampler) for one "
            "epoch"
            if rare
            else f"look at 20 training samples labelled {seen.names[worst]}, and at what its validation samples are "
            "taken for"
        )
        return self.found(
            reading,
            Severity.WARNING,
            f"{seen.names[worst]} is wrong in {percent(float(seen.error[worst]))} of its {int(seen.support[worst])} "
            f"validation samples (limit {percent(self.error)}) while the mean error is {percent(seen.total_error)}"
            f"{seen_in_training}{more}.",
            where=[seen.names[k] for k in order[:NAMED]],
            evidence={"value": float(seen.error[worst]), "limit": self.error, "mean_error": seen.total_error,
                      "samples": float(seen.support[worst]), "train_share": share},
            advice=(first, "check that its label id is the same in training and validation"),
        )  # fmt: skip


def _more(count: int) -> str:
    """How many classes are no better.

    >>> _more(0), _more(1), _more(3)
    ('', '; so is 1 more', '; so are 3 more')
    """
    return f"; so {'is' if count == 1 else 'are'} {count} more" if count else ""
