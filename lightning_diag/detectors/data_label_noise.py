"""``data/label-noise``: part of the training labels is probably wrong."""

from __future__ import annotations

import math
from typing import ClassVar

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._contrast import Contrast
from lightning_diag.detectors._data import Order, unseen
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import NEVER, Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

NAMED = 5
LOW, HIGH = -0.7, 0.5  # means, in usual margins, from which two components stand apart: of right labels 30 trainings of
# digits, tables and small images (development seeds): none of them did so twice
STEP = 0.5  # margins a sample from one fit to the next
AGREE = 0.5  # share of suspected labels over the fitted rate
LEARNED = 0.2  # the least share there was over the present one: labels that were learned are not wrong
SURE = 0.5  # of the margin limit, from which two components that stand apart are believed under a known loss
UNSURE = "the network isn't sure yet even of the labels it agrees with"
AGAINST = 0.5  # share of the negative margins that are deep, from which a better validation means wrong labels
HALF, LOST = 0.5, 0.97  # R from which on the least share counts; above which nothing has been learned
NEXT = 0.1  # share of targets that are the next input rather than this one or that after
SPREAD = 0.5  # share of the commonest token or position among the others: above it they are meant (a mask, an edge)
BATCHES = 4  # in a row
MOST = 0.5  # share of suspected labels above which the network hasn't learned the rest either


class DataLabelNoise(Detector):
    """Part of the training labels is probably wrong: the network holds against them while it learns.

    Catches:
        Random and systematic label errors, a misread label column; corrupted targets of a language model.

    Formula:
        the mean margin over training of each sample: logit of the given label less the best other. Two normal
        components are fitted to them; where they stand apart (the lower mean at most -0.7, the other at least 0.5 times
        the median positive margin) in two successive estimates, the weight of the lower one is the rate, and ``se`` its
        standard error, unless the share of margins below ``-0.5`` times that median is less than half of it (samples
        that are learned late make a second component, too, but not against their labels). Else the rate is that share,
        with its binomial error, if these are at least ``depth`` of all negative ones (hard samples lie just below zero)
        and stand: at least ``stays`` of the largest of the last three shares, each a new margin a sample later; a
        network that learns slowly is against fewer and fewer labels, wrong ones it stays against. Fires where
        ``rate - 3 se > note``, once the network is sure of the labels it agrees with (median margin at least
        ``margin``; half of it where components stand apart and the loss is a known one). Not judged while its loss is
        above 0.97 of chance, or while that share is five times what it once was, nor by the share alone while it is
        above a half: then it is the network that is wrong. Where the loss isn't a known one of these labels (mixup
        trains on others) the fit alone is judged. Nor is it while training has never been less accurate than
        validation: a network that learns new samples worse than its own holds against none of these.

        Validation against training (``Contrast``): on repeated samples with right labels a network does at least as
        well as on new ones; wrong labels cost accuracy and loss in training alone. In two successive stretches between
        validation passes the worse of both passes must be better than training was in between: by 2 standard errors of
        the accuracy and 3 of the loss, or 4 of the loss and by any accuracy, or 3 of the accuracy where validation has
        no loss; and half of the negative margins must be deep. The share of accuracy that is missing is then told as
        the least rate. Not judged with another domain, dropout, label smoothing, augmented samples, or a training step
        that changes its inputs (``val/alike``): these cost training accuracy, too.

        Tokens whose targets are mostly the next input: the share of targets that aren't, the least of four sampled
        batches, where no more than half of those share a target, an input or a position.

    Reads:
        ``data/noise_frac data/noise_samples data/noise_depth data/noise_margin data/noise_seen``, ``data/noise_rate
        data/noise_error data/noise_low data/noise_high``, ``data/same_label loss/relative``, ``data/shift_match
        data/shift_astray``, ``class/train_support class/train_right class/support class/right loss/train loss/val
        val/alike data/renewed_frac``.

    Args:
        limit: share of wrong labels from which it is a warning; higher = later. Default 0.05: below it the harm is
            small (measured on digits: 2 % cost nothing, 5 % two points).
        note: share from which it is a note; higher = later. Default 0.015: networks that had learned right labels were
            against 0.4 % of them on average (digits, tables, development runs).
        depth: share of the negative margins; higher = fires on clearer cases only. Default 0.6: noisy labels gave 0.58
            to 0.9, slow and regularized trainings on right ones 0.1 to 0.57.
        margin: logits; higher = later. Default 1.
        stays: share of the share; higher = fires less. Default 0.8: noisy labels kept 0.9 and more, slow learning 0.4
            to 0.7 (digits, development runs).

    Fires when:
        info above ``note``, a warning above ``limit``, once most samples were seen twice.

    False alarms:
        Hard classes that the network is confidently wrong about; training samples that are harder than validation's,
        of the same domain. Measured: `benchmarks/results/data_rules.md`.

    Cost:
        None beyond the probe's.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> detector = DataLabelNoise()
        >>> for epoch in range(2, 20):
        ...     values = {"data/noise_frac": np.float64(0.12), "data/noise_samples": np.float64(1200),
        ...               "data/noise_depth": np.float64(0.8), "data/noise_margin": np.float64(2.5),
        ...               "data/noise_seen": np.float64(epoch)}
        ...     try:
        ...         found = detector.update(Reading(50 * epoch, epoch, values, Facts(loss_kind="cross-entropy")))
        ...     except NotMeasurable:
        ...         continue
        ...     if found is not None:
        ...         break
        >>> epoch, str(found.severity)
        (4, 'warning')

    References:
        Pleiss et al., Identifying mislabeled data using the area under the margin ranking, NeurIPS 2020
        (arXiv:2001.10528). Arazo et al., Unsupervised label noise modeling and loss correction, ICML 2019
        (arXiv:1904.11238): two components.
    """

    rule: ClassVar[str] = "data/label-noise"
    code: ClassVar[str] = "I004"
    reads: ClassVar[tuple[str, ...]] = ("data/noise_frac", "data/same_label", "data/shift_match", "loss/train",
                                        "class/train_support", "class/support")  # fmt: skip
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Labels are probably wrong"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 3
    rests_until: int = NEVER  # judged when samples were counted

    def __init__(
        self, limit: float = 0.05, depth: float = 0.6, margin: float = 1.0, stays: float = 0.8, note: float = 0.015
    ) -> None:
        self.limit = number("limit", limit, 0, 1)
        self.note = number("note", note, 0, 1)
        self.depth = number("depth", depth, 0, 1)
        self.margin = number("margin", margin, 0)
        self.stays = number("stays", stays, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._shares: list[float] = []  # the last estimates, each of a new margin a sample
        self._least = 1.0  # the least share so far
        self._seen = 0.0  # margins a sample at the newest of them
        self._apart = 0  # successive fits whose components stand apart
        self._fitted = -STEP  # margins a sample at the newest fit
        self._order = Order()
        self._astray: list[float] = []  # share of the last batches' targets that aren't the next input
        self._relative = 0.0  # the last loss over that of a guess
        self._contrast = Contrast()
        self._missing = [0.0, 0.0]  # most that training was surely short of, and its error: labels don't change

    def update(self, reading: Reading) -> Finding | None:
        """Judge the margins so far."""
        if "data/shift_match" in reading.values:
            return self._tokens(reading)
        self._order.see(reading)
        self.take(reading)
        share, samples = reading.scalar("data/noise_frac"), reading.scalar("data/noise_samples")
        if share is None or not samples:
            why = "too few samples were seen twice with class scores and integer labels"
            raise NotMeasurable(unseen(reading, "data/noise_frac", why))
        seen = reading.scalar("data/noise_seen") or 0.0
        if seen >= self._seen + 1:
            self._shares, self._seen = [*self._shares, share][-3:], seen
            if self._relative < HALF:  # before it has learned something it agrees with what is most frequent
                self._least = min(self._least, share)
        if self._order.sorted:
            raise NotMeasurable("batches are sorted by label: each forgets the labels of the ones before")
        deep = self._relative <= LOST and (reading.scalar("data/noise_depth") or 0.0) >= AGAINST
        if deep and self._contrast.sure(reading) and self._contrast.rate > self._missing[0]:
            self._missing = [self._contrast.rate, self._contrast.error]
        try:
            rate, se = self._rate(reading, share, samples, seen)
            surely = rate - 3 * se
        except NotMeasurable:
            if not self._missing[0]:
                raise
            surely = rate = se = 0.0
        least = better = ""
        if self._missing[0] > surely:
            (rate, se), surely = self._missing, self._missing[0]
            least, better = "At least ", ", and is better on validation"
        if surely <= self.note:
            return None
        worse = surely > self.limit
        limit = self.limit if worse else self.note
        return self.found(
            reading,
            Severity.WARNING if worse else Severity.INFO,
            f"{least}{percent(rate)} of {samples:.0f} training labels are probably wrong (+- {percent(2 * se)}, limit "
            f"{percent(limit)}): the network holds against them while it learns{better}.",
            where=reading.names("suspect")[:NAMED],
            evidence={"value": rate, "limit": limit, "error": se, "samples": samples},
            advice=(
                "look at the samples named, the most suspicious first (all are in `suspicious_labels.csv` of the run's "
                "folder): if half of them are wrong, correct or drop all that are listed and train again",
                "compare with a run on the labels of one annotator",
            ),
        )

    def take(self, reading: Reading) -> None:
        """Note the loss."""
        if reading.facts.task != "language-model":
            self._contrast.see(reading)
        self._relative = float(reading.values.get("loss/relative", self._relative))

    def _tokens(self, reading: Reading) -> Finding | None:
        """Judge targets that should be the next input, as those of a causal language model are."""
        match, alike = reading.vector("data/shift_match"), reading.vector("data/shift_astray")
        if match is None or alike is None or not match[1] > max(match[0], match[2]) + NEXT:
            raise NotMeasurable("the targets aren't the inputs one position on: what they should be isn't known")
        spread = float(alike.max()) < SPREAD
        self._astray = [*self._astray, float(1 - match[1]) if spread else 0.0][-BATCHES:]
        if len(self._astray) < BATCHES or (least := min(self._astray)) <= self.note:
            return None
        worse, share = least > self.limit, sum(self._astray) / BATCHES
        limit = self.limit if worse else self.note
        return self.found(
            reading,
            Severity.WARNING if worse else Severity.INFO,
            f"{percent(share)} of the targets aren't the token that comes next in the input "
            f"(limit {percent(limit)}), spread over tokens and positions: targets or inputs are corrupted.",
            evidence={"value": share, "limit": limit},
            advice=(
                "print input and target of one sample side by side, decoded, where they differ",
                "if inputs are meant to be noisy (token dropout), ignore this rule; else count the differences after "
                "each stage of the data pipeline",
            ),
        )

    def _compare(self, reading: Reading, seen: float) -> None:
        """Take in a fit that is new."""
        if seen >= self._fitted + STEP and "data/noise_rate" in reading.values:
            low, high = reading.scalar("data/noise_low"), reading.scalar("data/noise_high")
            apart = low is not None and high is not None and low <= LOW and high >= HIGH
            self._apart, self._fitted = self._apart + 1 if apart else 0, seen

    def _rate(self, reading: Reading, share: float, samples: float, seen: float) -> tuple[float, float]:
        """The rate of wrong labels and its standard error; 0 where margins only look like it."""
        sure = (reading.scalar("data/noise_margin") or 0.0) / self.margin
        if sure < (1 if reading.facts.loss_kind is None else SURE):
            raise NotMeasurable(UNSURE)
        if self._relative > LOST:
            raise NotMeasurable("the network is no better than chance")
        if self._least < LEARNED * share:
            raise NotMeasurable("the network agreed with these labels before")
        self._compare(reading, seen)
        if self._contrast.best < 0:
            raise NotMeasurable("the network was never worse on training samples than on new ones")
        rate = reading.scalar("data/noise_rate") or 0.0
        if self._apart >= 2 and share >= AGREE * rate:
            return rate, reading.scalar("data/noise_error") or math.inf
        if share > MOST:
            raise NotMeasurable("the network is against most labels")
        if sure < 1:
            raise NotMeasurable(UNSURE)
        if reading.facts.loss_kind is None:
            raise NotMeasurable("the loss isn't a known one of these labels: they may be mixed (mixup), or weighted")
        if len(self._shares) < 3:
            raise NotMeasurable("needs three estimates, each a new look at the samples later")
        depth = reading.scalar("data/noise_depth") or 0.0
        if depth < self.depth or share < self.stays * max(self._shares):
            return 0.0, 0.0
        return share, math.sqrt(max(share * (1 - share), 1 / samples) / samples)
