"""``gradients/exploding``: gradients far larger than the weights they are to change."""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, Consequence
from lightning_diag.detectors._even import even
from lightning_diag.detectors._parameters import arrays, matrices, named, scale_free, sizes
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming.sorted_window import SortedWindow

TINY_RMS = 1e-4  # weights that started smaller are new (LoRA's B, ReZero's gates): gradient over weight means nothing
SOON_STEPS = 20  # the first losses of a badly scaled start pass, unless R is above ``OUT`` after 12
SOON_UNKNOWN_STEPS, LATE_UNKNOWN_STEPS = 30, 100  # the same where chance isn't known: far above it, and at all
HIGH = 0.8  # of the highest R so far: below it such a loss is falling again
FAR = 3.0  # R up to which a first loss above chance may fall by itself: squared one-hot targets, outputs of variance 1
OUT = 5.0  # R that doesn't pass: with gradients that large no healthy or harmless run had more than 2.2 after 12 steps


class GradientExploding(Detector):
    """Gradients are far larger than the weights they are to change, or than they used to be, and the loss shows it.

    Catches:
        Initial weights far too large, recurrent networks beyond their stable length, gradients that are never cleared,
        a learning rate that threw the weights out.

    Formula:
        ``m = max_l |g_l| / (|W_l| H)`` over the weight matrices an optimizer holds, with ``H`` the loss of the best
        constant predictor (where unknown: of the first steps), which takes the unit of the loss out; median over
        ``samples`` samples. And ``jump``: the median gradient norm of the last ``samples`` samples over the median of
        ``baseline`` samples before them. Pre-clip norms.

    Reads:
        ``grad/parameter_norm weight/parameter_norm grad/missing`` where sampled, ``loss/relative loss/level loss/best``
        beside them.

    Args:
        ratio: gradient over weight, in units of the chance loss; higher = only larger gradients. Default 5: healthy
            trainings reach 1.0 (7.8 in the first steps where outputs start far from squared one-hot targets), harmless
            inputs 30 times too large 3.1, gradients that are never cleared 7 to 18.
        samples: samples the medians run over; higher = later and quieter. Default 10.
        jump: growth of the gradient norm over its own past; higher = quieter. Default 100; healthy
            trainings reach 19.
        baseline: samples of that past; higher = slower to forget. Default 64.
        worse: R (``loss/relative``) above which the run suffers; higher = fewer warnings. Default 1.05, chance and its
            noise.
        lost: R above which it is lost; higher = fewer critical findings. Default 10: none was seen to come back from
            there to the score of its healthy twin.

    Fires when:
        ``m > ratio`` or ``jump`` is passed (info); a warning when R is also above ``worse`` after 20 steps (above 5
        after 12; where chance isn't known above ``lost`` after 30, or ``worse`` after 100) and, up to 2 % of the plan,
        above 3 or 80 % of its highest, or the loss well above its best; critical when R is above ``lost`` after 2 % of
        the plan and not falling. Of several optimizers each is judged apart; info only where they follow losses of
        their own: a rise says nothing then.

    False alarms:
        Silent in all of the 165 healthy and harmless trainings of ``benchmarks/results/gradient_rules.md``. Of those
        whose gradients are never cleared it warns of 3 of 3 MLPs, 1 of 3 CNNs, 1 of 3 with SGD and of no LSTM and no
        transformer, which saturate or normalize. A first loss far above chance (targets that are not scaled) is no
        consequence as long as the gradients fit its scale. Optimizers such as Adam don't care about the gradient's
        scale: the message says so. Non-finite gradients are skipped: they are ``gradients/non-finite``.

    Cost:
        31 µs a reading of 1,000 parameters.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> names = {"parameter": ("a.weight", "b.weight")}
        >>> facts = Facts(chance_loss=2.3, names=names, parameter_kind=("matrix",) * 2)
        >>> rng, detector = np.random.default_rng(0), GradientExploding()
        >>> for step in range(1, 200):
        ...     g = np.array([0.1, 0.1]) * rng.lognormal(0, 0.3, 2) * (1 if step < 100 else 1e4)
        ...     values = {"grad/parameter_norm": g, "weight/parameter_norm": np.ones(2)}
        ...     values["loss/relative"] = np.float64(0.5 if step < 110 else 4.0)
        ...     try:
        ...         finding = detector.update(Reading(step, 0, values, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     if finding is not None and step in (104, 110):
        ...         print(step, finding.severity)
        104 info
        110 warning

    References:
        Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, ICML 2013 (arXiv:1211.5063);
        Philipp et al., The exploding gradient problem demystified, 2017 (arXiv:1712.05577), on relative measures; Zhang
        et al., AUTOTRAINER, ICSE 2021.
    """

    rule: ClassVar[str] = "gradients/exploding"
    code: ClassVar[str] = "G002"
    reads: ClassVar[tuple[str, ...]] = ("grad/parameter_norm",)
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Exploding gradient"
    by_optimizer: ClassVar[bool] = True

    def __init__(
        self,
        ratio: float = 5.0,
        samples: int = 10,
        jump: float = 100.0,
        baseline: int = 64,
        worse: float = 1.05,
        lost: float = 10.0,
    ) -> None:
        self.ratio = number("ratio", ratio, 0.1)
        self.samples = whole("samples", samples, 3)
        self.jump = number("jump", jump, 2)
        self.baseline = whole("baseline", baseline, 10)
        self.worse = number("worse", worse, 0)
        self.lost = number("lost", lost, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence()
        self._ratios = SortedWindow(self.samples)
        self._norms = SortedWindow(self.samples)
        self._past = SortedWindow(self.baseline)
        self._delay: deque[float] = deque()  # norms too young for the baseline
        self._held = 0  # samples the baseline has been frozen for
        self._start = np.zeros(0)

    def update(self, reading: Reading) -> Finding | None:
        """Judge the gradients of this step."""
        self._run.see(reading)
        grad, weight = arrays(reading, "grad/parameter_norm", "weight/parameter_norm")
        layers = matrices(reading.facts)
        missing = reading.vector("grad/missing")
        measured = np.isfinite(weight[layers]) if missing is None else np.isfinite(missing[layers])
        if not np.isfinite(grad[layers][measured]).all():
            raise NotMeasurable("the gradient was not finite at every sample so far")
        if self._start.shape != weight.shape:
            self._start = weight.copy()
        unit = self._run.unit * even(reading.facts)
        grown = measured & (self._rms(reading)[layers] > TINY_RMS) & (weight[layers] > 0)
        layers = layers[grown]
        if not len(layers):
            raise NotMeasurable("no weight matrix with a gradient and a weight to compare it with")
        if reading.facts.competing:
            unit = math.inf  # of losses that compete nobody knows the scale: only a jump counts
        share = grad[layers] / (weight[layers] * (unit if unit > 0 else 1.0))
        worst = int(share.argmax())
        self._ratios.push(float(share[worst]))
        jump = self._jump(math.sqrt(float(np.square(grad[layers]).sum())))
        if not self._ratios.full:
            raise NotMeasurable(f"fewer than {self.samples} samples")
        if self._ratios.median() <= self.ratio and jump <= self.jump:
            return None
        return self._finding(reading, [named(reading, int(layers[i])) for i in np.argsort(-share)[:3]], jump)

    def _rms(self, reading: Reading) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Root mean square of the weights at the first sample."""
        numel = reading.facts.parameter_numel
        return self._start / np.sqrt(sizes(numel)) if len(numel) == len(self._start) else self._start

    def _jump(self, norm: float) -> float:
        """Push a norm; return the median of the newest over the median of the past (0 while there is none)."""
        self._norms.push(norm)
        past = self._past.median() if len(self._past) >= self.samples else 0.0
        jump = self._norms.median() / past if past > 0 else 0.0
        self._delay.append(norm)
        if len(self._delay) <= self.samples:
            return jump
        oldest = self._delay.popleft()
        self._held = self._held + 1 if jump > self.jump else 0
        if not 0 < self._held <= self.baseline:  # an alarm doesn't become its own baseline, but not for ever
            self._past.push(oldest)
        return jump

    def _severity(self, start: float) -> Severity:
        """Judge the loss, given the level over chance at which every network starts."""
        run, relative = self._run, self._run.relative / start
        early = AT_ONCE_STEPS if relative > OUT else SOON_STEPS
        if run.watched < (early if run.known else SOON_UNKNOWN_STEPS) or math.isnan(relative):
            return Severity.INFO
        if run.ripe and relative > self.lost and run.trail and run.relative > 0.5 * run.trail[len(run.trail) // 2][1]:
            return Severity.CRITICAL
        soon = run.known or run.watched >= LATE_UNKNOWN_STEPS  # a value loss rises while rewards are found
        worse = self.worse if soon else self.lost
        sure = run.known and (run.ripe or relative > FAR)
        high = sure or not run.trail or run.relative > HIGH * max(r for _, r in run.trail)
        suffers = (run.above_start / start > worse and high) or (soon and run.diverging())
        return Severity.WARNING if suffers else Severity.INFO

    def _finding(self, reading: Reading, where: list[str], jump: float) -> Finding:
        value, facts, start = self._ratios.median(), reading.facts, even(reading.facts)
        severity = self._severity(start)
        by_ratio = value > self.ratio
        reference = "the chance loss" if start == 1 else "the loss of an even guess"
        unit = f" times {reference}" if self._run.known else ""
        said = (
            f"The gradient of {where[0]} is {value:.3g} times its weights{unit} (limit {self.ratio:g}"
            if by_ratio
            else f"The gradient norm is {jump:.3g} times what it was (limit {self.jump:g}"
        )
        said += f", median over {self.samples} samples)"
        if severity > Severity.INFO:
            said += f", and the loss stands at {self._run.above_start / start:.3g} times its reference"
        said += f"; clipping at {facts.clip_val:g} is on, this is before it" if facts.clip_val else ""
        said += f"; {facts.optimizers[0]} is not sensitive to the scale of gradients" if scale_free(facts) else ""
        return self.found(
            reading,
            severity,
            said + ".",
            where=where,
            evidence={
                "value": value if by_ratio else jump,
                "limit": self.ratio if by_ratio else self.jump,
                "ratio": value,
                "jump": jump,
                "relative_loss": self._run.relative,
                "clip_val": "none" if not facts.clip_val else facts.clip_val,
            },
            advice=_advice(reading, self._run.watched),
        )


def _advice(reading: Reading, watched: int) -> tuple[str, ...]:
    first = (
        "print the mean and standard deviation of one batch of inputs and targets: scale both to 0 and 1 first",
        "train 50 steps with the layers' default initialization: if the first loss falls to chance level, that was it",
    )
    later = (
        "look for a missing optimizer.zero_grad(): print the gradient norm right after it, it must be 0",
        "repeat the 200 steps before this one with a tenth of the learning rate",
    )
    clip = "set gradient_clip_val to the median of the recorded grad/norm before the growth"
    return (*(first if watched < 200 else later), *(() if reading.facts.clip_val else (clip,)))
