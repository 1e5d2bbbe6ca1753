"""``gradients/non-finite``: a gradient holds NaN or infinity."""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors._arguments import whole
from lightning_diag.detectors._parameters import named
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading, Value

NAMED = 5  # parameters that are named at most


class GradientNonFinite(Detector):
    """A gradient holds NaN or infinity: the optimizer's step spreads it over the weights.

    Catches:
        Overflow, division by 0, log of 0, the square root's slope at 0, NaN in a batch; with float16 autocast a loss
        scale that never settles.

    Formula:
        A parameter's pre-clip gradient norm is NaN or infinite. What goes wrong in the backward pass of a layer spreads
        from there to the layers before it, so the last registered of the parameters concerned is named first. When all
        are concerned, it came from the forward pass or the loss, and none is named.

    Reads:
        ``grad/norm grad/parameter_norm grad/missing weight/parameter_norm`` where sampled, ``loss/train`` beside them.

    Args:
        window: samples over which skipped steps are counted under float16 autocast; higher = slower. Default 20.
        skips: non-finite samples among them that are no longer normal; higher = quieter. Default 5: PyTorch's
            GradScaler doubles its scale every 2,000 steps and skips a step or two each time.

    Fires when:
        critical at the first such sample. With precision ``16-mixed`` the scaler skips those steps, which is normal: a
        warning at ``skips`` of the last ``window`` samples, critical when all of them are or a weight is non-finite;
        the first run of skips, while the scaler finds its scale, doesn't count. Never resolves.

    False alarms:
        Silent in all of the 165 healthy and harmless trainings of ``benchmarks/results/gradient_rules.md``. The NaN of
        a parameter whose optimizer did not step is no measurement and doesn't count.

    Cost:
        3 µs a reading of 1,000 parameters.

    Examples:
        >>> facts = Facts(names={"parameter": ("a.weight", "b.weight", "c.weight")}, parameter_kind=("matrix",) * 3)
        >>> rng, detector = np.random.default_rng(0), GradientNonFinite()
        >>> for step in range(1, 100):
        ...     g = rng.lognormal(0, 0.3, 3)
        ...     g[:2] = g[:2] if step < 60 else np.nan
        ...     finding = detector.update(Reading(step, 0, {"grad/parameter_norm": g}, facts))
        ...     if finding is not None:
        ...         print(step, finding.severity, finding.where)
        ...         break
        60 critical ('b.weight', 'a.weight')

    References:
        Micikevicius et al., Mixed precision training, ICLR 2018 (arXiv:1710.03740); PyTorch documentation,
        ``torch.amp.GradScaler``; Wardat et al., DeepLocalize, ICSE 2021 (arXiv:2103.03376).
    """

    rule: ClassVar[str] = "gradients/non-finite"
    code: ClassVar[str] = "G003"
    reads: ClassVar[tuple[str, ...]] = ("grad/parameter_norm", "grad/norm")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Non-finite gradient"
    by_optimizer: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = None

    def __init__(self, window: int = 20, skips: int = 5) -> None:
        self.window = whole("window", window, 2)
        self.skips = whole("skips", skips, 1, self.window)
        super().__init__()

    def _reset(self) -> None:
        self._bad: deque[int] = deque(maxlen=self.window)
        self._settled = False  # a finite sample was seen: the loss scaler has found its scale
        self._early = 0  # samples before it

    def update(self, reading: Reading) -> Finding | None:
        """Judge the gradients of this step."""
        norms, total = reading.vector("grad/parameter_norm"), reading.scalar("grad/norm")
        if norms is None and total is None:
            raise NotMeasurable("no gradient norm is measured at this step")
        bad = _non_finite(norms, reading.vector("grad/missing"))
        any_bad = bool(bad.any()) if norms is not None else not math.isfinite(total or 0.0)
        if scaled(reading.facts):
            return self._under_scaler(reading, bad, any_bad)
        return self._finding(reading, bad, Severity.CRITICAL) if any_bad else None

    def _under_scaler(self, reading: Reading, bad: NDArray[np.bool_], any_bad: bool) -> Finding | None:
        weights = reading.vector("weight/parameter_norm")
        if any_bad and weights is not None and _non_finite(weights, reading.vector("grad/missing")).any():
            return self._finding(reading, bad, Severity.CRITICAL)
        if not self._settled:
            self._early += 1
            self._settled = not any_bad or self._early >= self.window
            return None
        self._bad.append(int(any_bad))
        count = sum(self._bad)
        if count < self.skips:
            return None
        lost = count == self.window
        return self._finding(reading, bad, Severity.CRITICAL if lost else Severity.WARNING, count)

    def _finding(self, reading: Reading, bad: NDArray[np.bool_], severity: Severity, skipped: int = 0) -> Finding:
        count, total = int(bad.sum()), len(bad)
        where = [] if count == total else [named(reading, int(i)) for i in np.flatnonzero(bad)[::-1][:NAMED]]
        loss = reading.scalar("loss/train")
        loss_bad = loss is not None and not math.isfinite(loss)
        if skipped:
            said = f"The gradient was not finite at {skipped} of the last {len(self._bad)} samples (limit {self.skips})"
            said += ", so the loss scaler skips these steps"
        elif where:
            said = f"The gradient of {where[0]} and {count - 1} more of {total} parameters is not finite (limit 0)"
            said += "; the layers behind it are finite, so the backward pass through it or its output made the value"
        else:
            said = (
                f"The gradient is not finite in all {total} parameters (limit 0)"
                if total
                else "The gradient norm is not"
            )
            said += "" if total else " finite (limit 0)"
            said += f", and so is the loss ({loss})" if loss_bad else ""
        return self.found(
            reading,
            severity,
            said + ".",
            where=where,
            evidence={
                "value": skipped or count,
                "limit": self.skips if skipped else 0,
                "parameters": total,
                "batch_idx": reading.batch_idx,
                "loss": "not measured" if loss is None else loss,
            },
            advice=_advice(reading, where, skipped=bool(skipped), loss_bad=loss_bad),
        )


def scaled(facts: Facts) -> bool:
    """Whether a loss scaler skips non-finite steps (float16 autocast).

    >>> [scaled(Facts(precision=p)) for p in ("16-mixed", "16", "16-true", "bf16-mixed", None)]
    [True, True, False, False, False]
    """
    return facts.precision in ("16-mixed", "16")


def _non_finite(norms: Value | None, missing: Value | None) -> NDArray[np.bool_]:
    if norms is None:
        return np.zeros(0, dtype=bool)
    bad = ~np.isfinite(norms)
    return bad & np.isfinite(missing) if missing is not None and missing.shape == norms.shape else bad


def _advice(reading: Reading, where: list[str], *, skipped: bool, loss_bad: bool) -> tuple[str, ...]:
    batch = f"batch {reading.batch_idx} of epoch {reading.epoch}" if reading.batch_idx >= 0 else "this step's batch"
    if skipped:
        return (
            "train the same 200 steps with precision='bf16-mixed' or '32-true': if none is skipped, float16 overflows",
            "halve the learning rate: a loss that grows needs an ever smaller scale",
        )
    check = f"run {batch} alone in float32 under torch.autograd.detect_anomaly(): it names the operation"
    look = "look for NaN, inf or a 0 under log, sqrt or a division in that batch's inputs and targets"
    if loss_bad or not where:
        return (look, check, "repeat the steps before with a tenth of the learning rate")
    return (
        check,
        f"look at what {where[0]} feeds: sqrt, norm, log, division or a masked softmax needs an epsilon",
        look,
    )
