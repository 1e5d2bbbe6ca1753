"""``gradients/unreached``: a trainable parameter gets no gradient, or no optimizer holds it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import EARLY_SHARE, HALF_TIMES, SURE_STEPS, Consequence
from lightning_diag.detectors._fresh import Fresh, small_head
from lightning_diag.detectors._parameters import Place, listed, places, sizes, weighty, where
from lightning_diag.detectors._streak import Mask, Streak, least_steps
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class GradientUnreached(Detector):
    """A trainable parameter gets no gradient, or belongs to no optimizer: it stays what it was at the start.

    Catches:
        A ``detach()``, ``no_grad()`` or NumPy call in the middle of the forward pass, a branch that is never called, a
        module added after ``configure_optimizers`` or left out of its parameter groups.

    Formula:
        Trainable parameters whose ``.grad`` was None at every sample for ``samples`` samples and ``min(steps, one
        epoch, a quarter of the plan)`` steps; and those that no optimizer holds, after ``orphan_samples`` samples in
        which the weights did not change (an optimizer the trainer can't see would change them). Parameters with
        ``requires_grad=False`` are frozen on purpose and not looked at.

    Reads:
        ``grad/missing update/parameter_ratio weight/distance`` where sampled, ``weight/kurtosis weight/called
        weight/parameter_norm`` of the first sample, ``loss/relative`` beside them.

    Args:
        samples: samples without a gradient; higher = later, quieter for branches that are seldom used. Default 20.
        steps: steps they must span (an epoch if that is shorter); higher = the same. Default 200.
        orphan_samples: samples after which a parameter outside all optimizers is reported; higher = later. Default 5.
        stuck: R (``loss/relative``) above which the run is not learning; higher = fewer warnings. Default 0.9.
        share: share of the trainable elements above which R > 0.5 is a consequence; higher = fewer warnings. Default
            0.5.

    Fires when:
        any such parameter exists (info): published models carry heads that are never called, and probing a pretrained
        body that no optimizer holds is common. A warning when a weight matrix among them takes part in the forward
        pass and is still what it was drawn as: its values are distributed as those of a fresh draw (kurtosis 1.8 of a
        uniform distribution, or 3 of a normal one beside biases of 0 and norms of 1), none that does so looks trained,
        it is no copy of another matrix (a target network), nothing has changed it, and the others can't make up for it:
        all matrices from the first on are concerned (no skip connection leads a gradient around), or the last is. Not
        so for the first alone, nor for the last alone of a classifier with at most half as many classes as inputs: what
        is behind or before them learns nearly as well.

        Otherwise a warning when R > ``stuck`` after 2 % of the plan (60 to 1,000 steps, 30 when R > 0.985 with more
        than a fifth of the elements, 200 without a plan), or R > 0.5 with more than ``share`` of the elements
        untrained; for a first layer alone, with at most a fifth of the elements, only at three times as many steps.
        Never critical.

    False alarms:
        Where weights can't be told to be as drawn: no warning in any of the 165 healthy and harmless trainings of
        ``benchmarks/results/gradient_rules.md``; info in 15 (a spare head, unused experts, a probe whose body no
        optimizer holds, one layer left out, a detached first layer). A warning in all 15 where accuracy suffered. Where
        an optimizer did not step at a sample its parameters say nothing. A single NaN elsewhere changes nothing: only
        None counts. Of the fault zoo's trainings, all sets, those that were cut off behind more than their first layer
        were harmed in 10 of 10 networks, those whose last layer stayed random, small heads aside, in 7 of 9; an inner
        layer alone did harm in 4 of 14, so it stays a note.

    Cost:
        33 µs a reading of 1,000 parameters.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> names = ("body.weight", "body.bias", "head.weight", "head.bias")
        >>> facts = Facts(planned_steps=1000, steps_per_epoch=50, names={"parameter": names}, chance_loss=2.3,
        ...               parameter_kind=("matrix", "vector") * 2, parameter_numel=(90, 10, 9, 1))
        >>> rng, detector = np.random.default_rng(0), GradientUnreached()
        >>> for step in range(1, 101):
        ...     values = {"grad/missing": np.array([1.0, 1.0, 0.0, 0.0])}
        ...     values["loss/relative"] = np.float64(0.98 + 0.001 * rng.standard_normal())
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if finding is not None and step in (50, 60):
        ...         print(step, finding.severity, finding.where)
        50 info ('body',)
        60 warning ('body',)

    References:
        PyTorch documentation, ``DistributedDataParallel(find_unused_parameters)``; Lightning issue #17212 (which
        parameters were unused?); TheDeepChecker, TOSEM 2022, untrained parameters; Rosenfeld & Tsotsos, Intriguing
        properties of randomly weighted networks, 2019 (arXiv:1802.00844); Chen et al., MoCo v3, ICCV 2021
        (arXiv:2104.02057): a frozen patch projection does no harm. Hoffer et al., Fix your classifier, ICLR 2018
        (arXiv:1801.04540): nor does a fixed last layer of few classes.
    """

    rule: ClassVar[str] = "gradients/unreached"
    code: ClassVar[str] = "G004"
    reads: ClassVar[tuple[str, ...]] = ("grad/missing",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Unreached parameters"

    def __init__(
        self, samples: int = 20, steps: int = 200, orphan_samples: int = 5, stuck: float = 0.9, share: float = 0.5
    ) -> None:
        self.samples = whole("samples", samples, 2)
        self.steps = whole("steps", steps, 1)
        self.orphan_samples = whole("orphan_samples", orphan_samples, 2)
        self.stuck = number("stuck", stuck, 0)
        self.share = number("share", share, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=SURE_STEPS)
        self._missing = Streak()
        self._orphan = Streak()
        self._fresh = Fresh()
        self._reached = np.zeros(0, dtype=bool)  # where a gradient has come
        self._moved = np.zeros(0, dtype=bool)  # where the weights have changed, by whatever

    def update(self, reading: Reading) -> Finding | None:
        """Judge which parameters were reached at this step."""
        self._run.see(reading)
        missing = reading.vector("grad/missing")
        if missing is None or not missing.size:
            raise NotMeasurable("which gradients are missing is not measured at this step")
        held = np.array(reading.facts.in_optimizer, dtype=bool)
        if held.shape != missing.shape:
            held = np.ones(missing.shape, dtype=bool)
        self._fresh.see(reading)
        self._reached = _seen(self._reached, missing == 0)
        far = reading.vector("weight/distance")
        self._moved = _seen(self._moved, np.zeros(missing.shape, bool) if far is None else far > 0)
        self._missing.see(reading.step, missing == 1, np.isfinite(missing))
        ratio = reading.vector("update/parameter_ratio")
        if ratio is not None and ratio.shape == held.shape:
            self._orphan.see(reading.step, ~held & ~(ratio > 0), np.isfinite(missing))
        orphan = self._orphan.count >= self.orphan_samples
        lost = self._missing.lasting(reading.step, samples=self.samples, steps=self._span(reading))
        mask = lost | orphan if orphan.shape == lost.shape else lost
        if mask.any():
            return self._finding(reading, mask, mask & ~held)
        if self._run.watched < self._span(reading) or ((self._missing.count > 0) & ~self._reached).any():
            raise NotMeasurable("watched for too short a time")
        return None

    def _span(self, reading: Reading) -> int:
        """Steps a gradient must be missing for."""
        return max(self.samples, least_steps(self.steps, reading))

    def _finding(self, reading: Reading, mask: Mask, orphan: Mask) -> Finding:
        found, numel = places(reading, mask), reading.facts.parameter_numel
        weights = sizes(numel) if len(numel) == len(mask) else np.ones(len(mask))
        share = float(weights[mask].sum() / max(weights.sum(), 1.0))
        run = self._run
        suffers = run.untrained(self.stuck, share, self.share)
        at_first = _at_the_input(reading, mask)
        if at_first and share <= EARLY_SHARE:
            suffers = suffers and run.watched >= HALF_TIMES * run.patience_steps
        if self._fresh.trained(mask, reading.facts):
            suffers = suffers and run.ripe  # a new head behind it gets its time
        spared = at_first or not _at_an_end(reading, mask) or small_head(mask, reading.facts)
        drawn = not spared and self._as_drawn(reading, mask)
        streak = self._orphan if orphan.any() else self._missing
        since = streak.first(orphan if orphan.any() else mask)
        why = "belong to no optimizer and never change" if orphan.any() else "have got no gradient"
        if orphan.any() and (mask & ~orphan).any():
            why = "belong to no optimizer or have got no gradient"
        what = listed(found) if found else "all of them"
        still = ", which are still the random numbers they were made with" if drawn else ""
        loss = run.in_words(suffers)
        return self.found(
            reading,
            Severity.WARNING if suffers or drawn else Severity.INFO,
            f"{int(mask.sum())} of {len(mask)} trainable parameters ({percent(share)} of the elements, limit 0) {why} "
            f"since step {since}: {what}{still}{loss}.",
            where=where(found),
            evidence={
                "value": int(mask.sum()),
                "limit": 0,
                "share": share,
                "no_optimizer": int(orphan.sum()),
                "as_drawn": int(drawn),
                "relative_loss": run.relative,
            },
            advice=_advice(found, bool(orphan.any())),
            step=since,
        )

    def _as_drawn(self, reading: Reading, mask: Mask) -> bool:
        """Whether a weight matrix takes part and is what it was drawn as, and nothing here is anything else."""
        kinds = weighty(reading.facts.parameter_kind)
        if kinds.shape != mask.shape or self._moved[mask].any():
            return False
        part = mask & (self._fresh.called(mask) | self._reached)
        return bool((part & kinds).any()) and self._fresh.as_made(part, reading.facts)


def _seen(before: Mask, now: Mask) -> Mask:
    """Where it was so before, or is now."""
    return before | now if before.shape == now.shape else now


def _at_an_end(reading: Reading, mask: Mask) -> bool:
    """Whether the last weight matrix is concerned, or all from the first on are, up to some."""
    weights = np.flatnonzero(weighty(reading.facts.parameter_kind))
    if not len(weights) or len(reading.facts.parameter_kind) != len(mask):
        return False
    return bool(mask[weights[-1]] or mask[weights[0]])


def _at_the_input(reading: Reading, mask: Mask) -> bool:
    """Whether nothing but the first weight (and what stands before the second) is concerned."""
    kinds = reading.facts.parameter_kind
    weights = np.flatnonzero(weighty(kinds))
    return len(kinds) == len(mask) and len(weights) > 1 and not mask[weights[1] :].any()


def _advice(found: tuple[Place, ...], orphan: bool) -> tuple[str, ...]:
    name = found[0].name if found else "the model"
    if orphan:
        return (
            f"print how many of {name}'s parameters are in optimizer.param_groups; give it self.parameters()",
            f"if {name} is to stay as it is, set requires_grad_(False) on it: that is faster and ends this note",
        )
    return (
        f"print {name}'s output.requires_grad in the forward pass: False means a detach(), .data, .numpy(), argmax or "
        "torch.no_grad() before or after it",
        f"check that {name} is called at all and that the loss depends on what it returns",
        "if it is spare on purpose, delete it or set requires_grad_(False): DDP then needs no find_unused_parameters",
    )
