"""``updates/frozen``: parameters of the optimizer that never change."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import SURE_STEPS, Consequence
from lightning_diag.detectors._parameters import Place, arrays, listed, matrices, places, scale_free, sizes, where
from lightning_diag.detectors._streak import Mask, Streak, least_steps
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading, Value

EXACT_NUMEL = 1024  # a parameter of at most so many elements is measured whole, a larger one on a sample of them
SAME = 1e-6  # relative change of a weight norm between samples below which nothing moved in between
SWALLOWED = 1e-6  # a step smaller than this share of the weight may be lost to float32's rounding
LOW_PRECISION = ("bf16-true", "16-true")  # weights that swallow small steps: another fault


class UpdateFrozen(Detector):
    """Parameters have a gradient and an optimizer, and still never change.

    Catches:
        A parameter group with learning rate 0, layers behind dead units (gradient exactly 0), an optimizer that steps a
        copy of the parameters.

    Formula:
        Update ratio exactly 0 and weight norm unchanged since the sample before, at every sample for ``samples``
        samples and ``min(steps, one epoch, a quarter of the plan)`` steps. As larger parameters are measured on a
        sample of their elements, one of these must explain it: the gradient is exactly 0, some group's learning rate
        is 0, or the parameter is small enough to be measured whole and its step large enough to survive rounding.

    Reads:
        ``update/parameter_ratio grad/parameter_norm grad/missing weight/parameter_norm lr`` where sampled,
        ``loss/relative`` beside them.

    Args:
        samples: samples without a change; higher = later, quieter for parts that are seldom used. Default 20.
        steps: steps they must span (an epoch if that is shorter); higher = the same. Default 200.
        stuck: R (``loss/relative``) above which the run is not learning; higher = fewer warnings. Default 0.9.
        share: share of the trainable elements above which R > 0.5 is a consequence; higher = fewer warnings. Default
            0.5.

    Fires when:
        such a parameter exists (info: one layer at its initial value costs 0 to 3 points of accuracy); a warning when
        a weight matrix is among them and R > ``stuck`` after 2 % of the plan (60 to 1,000 steps, 30 when R > 0.985 with
        more than a fifth of the elements, 200 without a plan), or R > 0.5 with more than ``share`` of them frozen.

    False alarms:
        Silent in all of the 165 healthy and harmless trainings of ``benchmarks/results/gradient_rules.md``. Parameters
        with ``requires_grad=False`` are frozen on purpose and not looked at; those without a gradient or without an
        optimizer are ``gradients/unreached``. Silent while a schedule has ended at 0, and where an optimizer did not
        step at a sample (alternating optimizers). A non-finite sample neither adds nor resets.

    Cost:
        38 µs a reading of 1,000 parameters.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=400, names={"parameter": ("body.weight", "head.weight")}, chance_loss=2.3,
        ...               parameter_kind=("matrix",) * 2, parameter_numel=(90, 10), in_optimizer=(True, True))
        >>> rng, detector = np.random.default_rng(0), UpdateFrozen()
        >>> for step in range(1, 151):
        ...     values = {"update/parameter_ratio": np.array([0.0, 1e-3]), "grad/parameter_norm": np.array([0.0, 0.1])}
        ...     values |= {"weight/parameter_norm": np.array([5.0, 1 + step / 1e3]), "grad/missing": np.zeros(2)}
        ...     values["loss/relative"] = np.float64(1.0 + 0.01 * rng.standard_normal())
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if finding is not None:
        ...         print(step, finding.severity, finding.where)
        ...         break
        100 warning ('body.weight',)

    References:
        Amazon SageMaker Debugger documentation, UnchangedTensor; PyTorch documentation, ``torch.optim`` parameter
        groups; Lu et al., Dying ReLU and initialization, 2019 (arXiv:1903.06733).
    """

    rule: ClassVar[str] = "updates/frozen"
    code: ClassVar[str] = "U003"
    reads: ClassVar[tuple[str, ...]] = ("update/parameter_ratio",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Frozen parameters"
    by_optimizer: ClassVar[bool] = True

    def __init__(self, samples: int = 20, steps: int = 200, stuck: float = 0.9, share: float = 0.5) -> None:
        self.samples = whole("samples", samples, 2)
        self.steps = whole("steps", steps, 1)
        self.stuck = number("stuck", stuck, 0)
        self.share = number("share", share, 0, 1)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=SURE_STEPS)
        self._streak = Streak()
        self._weight = np.zeros(0)

    def update(self, reading: Reading) -> Finding | None:
        """Judge which parameters this step left alone."""
        run = self._run
        run.see(reading)
        ratio, grad, weight = arrays(reading, "update/parameter_ratio", "grad/parameter_norm", "weight/parameter_norm")
        if run.rates.peak > 0 and run.rates.last == 0:
            raise NotMeasurable("the learning rate is 0 now, after it was not")
        before = self._weight if self._weight.shape == weight.shape else weight
        self._weight = np.where(np.isfinite(weight), weight, before)
        still = (ratio == 0) | ((weight == 0) & np.isnan(ratio))
        still &= np.abs(weight - before) <= SAME * np.abs(before)
        known = np.isfinite(weight) & np.isfinite(grad)
        known &= ~still | self._explained(reading, grad, weight)
        missing = reading.vector("grad/missing")
        if missing is not None:
            still &= missing == 0
        held = reading.facts.in_optimizer
        if len(held) == len(still):
            still &= sizes(held) > 0
        self._streak.see(reading.step, still, known)
        span = max(self.samples, least_steps(self.steps, reading))
        mask = self._streak.lasting(reading.step, samples=self.samples, steps=span)
        if mask.any():
            return self._finding(reading, mask, grad)
        if run.watched < span:
            raise NotMeasurable("watched for too short a time")
        return None

    def _explained(self, reading: Reading, grad: Value, weight: Value) -> Mask:
        """Where an update of 0 over the sampled elements means that nothing moved."""
        rates = reading.vector("lr")
        explained = np.asarray(grad == 0)
        if reading.facts.precision in LOW_PRECISION:
            return explained
        if rates is not None and (rates == 0).any():
            return np.ones_like(explained)
        if len(reading.facts.parameter_numel) != len(grad):
            return explained
        whole_ = sizes(reading.facts.parameter_numel) <= EXACT_NUMEL
        sizable = scale_free(reading.facts) or self._run.rates.last * grad > SWALLOWED * weight
        return explained | (whole_ & sizable)

    def _finding(self, reading: Reading, mask: Mask, grad: Value) -> Finding:
        found, run, numel = places(reading, mask), self._run, reading.facts.parameter_numel
        known = len(numel) == len(mask)
        weights = sizes(numel) if known else np.ones(len(mask))
        share = float(weights[mask].sum() / max(weights.sum(), 1.0))
        biases = known and not mask[matrices(reading.facts)].any()  # alone they hold nobody up
        suffers = not biases and run.untrained(self.stuck, share, self.share)
        since, count = self._streak.first(mask), int(mask.sum())
        dead = bool((grad[mask] == 0).all())
        rates = reading.vector("lr")
        zero_rate = rates is not None and bool((rates == 0).any())
        why = (
            "their gradient is exactly 0"
            if dead
            else "their learning rate is 0"
            if zero_rate
            else "they get a gradient"
        )
        loss = run.in_words(suffers)
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"{count} of {len(mask)} trainable parameters ({percent(share)} of the elements, limit 0) have not changed "
            f"at any of {int(self._streak.count[mask].min())} samples since step {since}, {why}: "
            f"{listed(found) if found else 'all of them'}{loss}.",
            where=where(found),
            evidence={
                "value": count,
                "limit": 0,
                "share": share,
                "gradient_is_zero": int(dead),
                "learning_rate_is_zero": int(zero_rate),
                "relative_loss": run.relative,
            },
            advice=_advice(found, dead, zero_rate),
            step=since,
        )


def _advice(found: tuple[Place, ...], dead: bool, zero_rate: bool) -> tuple[str, ...]:
    name = found[0].name if found else "the model"
    if dead:
        return (
            f"look at the activations after {name} on one batch: all 0 or all equal means dead units",
            "re-draw the initial weights with hidden biases at 0 and look again after 20 steps; if units die later, "
            "repeat with a tenth of the learning rate",
        )
    if zero_rate:
        return (
            f"print the lr of each of optimizer.param_groups over 100 steps and find {name}'s group",
            f"if {name} is to stay as it is, set requires_grad_(False) on it instead",
        )
    return (
        f"compare id() of {name}'s parameters with those in optimizer.param_groups: a model moved or wrapped after "
        "configure_optimizers is stepped as a copy",
        "save the parameter before and after one optimizer.step() by hand",
    )
