"""``classes/confused``: one class is taken for another."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._classes import Array, Pass, Settled, counts, no_tokens, wilson
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 3
MAJORITY = 0.6  # lower bound of b among the answers a and b to samples of a: half again as often b as a


class ClassConfused(Detector):
    """One class is taken for one other.

    Catches:
        Pairs whose labels are mixed up or that the inputs don't tell apart.

    Formula:
        Wilson bounds (95 %) of the share of class a's samples that are predicted as class b.

    Reads:
        ``class/confusion`` (up to 64 classes) after each validation pass.

    Args:
        share: lower bound of that share above which the pair is confused; higher = only the worst. Default 0.2.
        others: error over all samples below which the model counts as trained; higher = sooner. Default 0.5.
        evaluations: validation passes in a row; higher = later, surer. Default 4.
        support: samples of a needed in a pass. Default 20.

    Fires when:
        a pair is confused ``evaluations`` times in a row, after 80 steps and once the mean error has stopped falling
        fast: info; a warning where a is surely predicted as b half again as often as itself.

    False alarms:
        Info by design: a hard pair is a property of the data. The warning needs more than half of a's samples to be
        lost for sure: where labels were mixed up or classes rare, b had 0.66 to 0.97 of them at least, hard pairs of
        healthy runs (shirts and coats) 0.45.

    Cost:
        O(K^2) a validation pass, K at most 64.

    Examples:
        >>> detector, matrix = ClassConfused(), np.eye(4) * 50
        >>> matrix[1] = [0, 10, 0, 40]
        >>> for epoch in range(7):
        ...     values = {"class/support": matrix.sum(1), "class/right": np.diag(matrix),
        ...               "class/predicted": matrix.sum(0), "class/confusion": matrix}
        ...     found = detector.update(Reading(100 * (epoch + 1), epoch, values, stage="validation"))
        >>> found.epoch, str(found.severity), found.where
        (6, 'warning', ('class 1 as class 3',))

    References:
        Wilson, Journal of the American Statistical Association 22, 1927 (the bound).
    """

    rule: ClassVar[str] = "classes/confused"
    code: ClassVar[str] = "C004"
    reads: ClassVar[tuple[str, ...]] = ("class/support",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Two classes are confused"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, share: float = 0.2, others: float = 0.5, evaluations: int = 4, support: int = 20) -> None:
        self.share = number("share", share, 0.0, 1.0)
        self.others = number("others", others, 0.0, 1.0)
        self.evaluations = whole("evaluations", evaluations, 1)
        self.support = whole("support", support, 1)
        super().__init__()

    def _reset(self) -> None:
        self._settled = Settled(self.evaluations)
        self._rows: dict[str, int] = {}  # "a,b" -> validation passes in a row

    def update(self, reading: Reading) -> Finding | None:
        """Judge one validation pass."""
        no_tokens(reading)
        seen = counts(reading)
        if seen.confusion is None:
            raise NotMeasurable("pairs are counted up to 64 classes")
        if seen.support.size < 3:
            raise NotMeasurable("of two classes each error is the other class: classes/neglected tells of them")
        low, _ = wilson(seen.confusion, np.repeat(seen.support[:, None], seen.support.size, axis=1))
        np.fill_diagonal(low, 0.0)
        low[seen.support < self.support] = 0.0
        settled = self._settled.push(seen.total_error)
        if seen.total_error > self.others or not settled:
            low[:] = 0.0
        pairs = [(int(a), int(b)) for a, b in np.argwhere(low > self.share)]
        self._rows = {f"{a},{b}": self._rows.get(f"{a},{b}", 0) + 1 for a, b in pairs}
        lasting = [(a, b) for a, b in pairs if self._rows[f"{a},{b}"] >= self.evaluations]
        return self._finding(reading, seen, seen.confusion, lasting) if lasting else None

    def _finding(self, reading: Reading, seen: Pass, matrix: Array, pairs: list[tuple[int, int]]) -> Finding:
        shares = matrix / np.maximum(seen.support, 1)[:, None]
        pairs.sort(key=lambda pair: -float(shares[pair]))
        a, b = pairs[0]
        both = matrix[a, a] + matrix[a, b]
        majority = float(wilson(matrix[a, b], both)[0]) > MAJORITY
        return self.found(
            reading,
            Severity.WARNING if majority else Severity.INFO,
            f"{percent(float(shares[a, b]))} of the {int(seen.support[a])} validation samples of {seen.names[a]} are "
            f"taken for {seen.names[b]} (limit {percent(self.share)}), {percent(float(shares[a, a]))} for what they "
            "are.",
            where=[f"{seen.names[x]} as {seen.names[y]}" for x, y in pairs[:NAMED]],
            evidence={"value": float(shares[a, b]), "limit": self.share, "right": float(shares[a, a]),
                      "samples": float(seen.support[a])},
            advice=(
                f"look at 20 samples of {seen.names[a]} that are taken for {seen.names[b]}: wrong labels, or inputs "
                "that don't show the difference",
                "if the labels are right, add samples that differ only in what tells the two apart",
            ),
        )  # fmt: skip
