"""``activations/attention-collapsed``: attention looks at single tokens with logits that no gradient can move."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._consequence import AT_ONCE_STEPS, Consequence
from lightning_diag.detectors._modules import and_more, arrays, first_called, named
from lightning_diag.detectors._streak import Streak
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading


class ActivationAttentionCollapsed(Detector):
    """Half of a layer's attention heads look at single tokens, with logits so large that no gradient moves them.

    Catches:
        Query and key weights that grew (learning rate too high, no warm-up, no QK normalization) or were drawn too
        large, a forgotten ``1 / sqrt(d)``.

    Formula:
        Per module, median over heads of the mean entropy of their attention rows, relative to uniform over the keys
        each row may see, below ``entropy``, *and* largest absolute logit above ``logit``.

    Reads:
        ``activation/attention_entropy activation/attention_max_logit activation/call_order`` where sampled,
        ``loss/relative loss/level loss/best`` beside them.

    Args:
        entropy: entropy over uniform below which attention counts as collapsed; higher = more notes. Default 0.15: the
            smallest in a healthy training (a net with a single attention layer), then with logits up to 22; character
            models 0.37. An entropy alone can't tell sharp from stuck, hence the second limit.
        logit: largest logit it also takes; higher = fewer notes. Default 30: healthy 22 at most, with a harmless
            tenfold query-key gain 27.
        samples: samples in a row; higher = later and quieter. Default 5.
        stuck: R (``loss/relative``) above which the run suffers; higher = fewer warnings. Default 0.5.

    Fires when:
        both limits are passed at ``samples`` samples in a row (info); a warning when R > ``stuck`` after 2 % of the
        plan (60 to 1,000 steps; 12 when R > 0.985) and not in a warm-up, or the loss is far above its best.

    False alarms:
        No warning in 72 healthy trainings of 36 kinds, no note either (benchmarks/results/activation_rules.md). A
        few sharp heads (copying, first-token sinks) leave the median where it is. Recall on the harmful planted
        faults: 12 of 12.

    Cost:
        16 µs a sample of 50 modules, 43 µs while it holds.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(planned_steps=500, chance_loss=3.3, names={"module": ("layers.0.attn", "layers.1.attn")})
        >>> rng, detector = np.random.default_rng(0), ActivationAttentionCollapsed()
        >>> for step in range(1, 101):
        ...     entropy = np.array([0.5, 0.5 * 0.9**step]) * rng.lognormal(0, 0.1, 2)
        ...     values = {"activation/attention_entropy": entropy, "activation/attention_max_logit": 5 / entropy}
        ...     values["loss/relative"] = np.float64(0.9)
        ...     finding = detector.update(Reading(step, 0, values, facts))
        ...     if finding is not None and step in (25, 60):
        ...         print(step, finding.severity, finding.where)
        25 info ('layers.1.attn',)
        60 warning ('layers.1.attn',)

    References:
        Zhai et al., Stabilizing transformer training by preventing attention entropy collapse, ICML 2023
        (arXiv:2303.06296); Dehghani et al., Scaling vision transformers to 22 billion parameters, 2023
        (arXiv:2302.05442), on growing logits; Wortsman et al., 2023 (arXiv:2309.14322).
    """

    rule: ClassVar[str] = "activations/attention-collapsed"
    code: ClassVar[str] = "A005"
    reads: ClassVar[tuple[str, ...]] = ("activation/attention_entropy",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Collapsed attention"

    def __init__(self, entropy: float = 0.15, logit: float = 30.0, samples: int = 5, stuck: float = 0.5) -> None:
        self.entropy = number("entropy", entropy, 0, 1)
        self.logit = number("logit", logit, 0)
        self.samples = whole("samples", samples, 1)
        self.stuck = number("stuck", stuck, 0)
        super().__init__()

    def _reset(self) -> None:
        self._run = Consequence(sure=AT_ONCE_STEPS)
        self._held = Streak()

    def update(self, reading: Reading) -> Finding | None:
        """Judge how sharp attention is."""
        self._run.see(reading)
        entropy, logit = arrays(reading, "activation/attention_entropy", "activation/attention_max_logit")
        known = np.isfinite(entropy) & np.isfinite(logit)
        self._held.see(reading.step, known & (entropy < self.entropy) & (logit > self.logit), known)
        mask = self._held.lasting(reading.step, samples=self.samples, steps=self.samples)
        if not mask.any():
            return None
        indices = sorted(first_called(reading, mask), key=lambda i: -logit[i])
        worst, run = indices[0], self._run
        where = named(reading, indices)
        suffers = run.stuck(self.stuck) or (run.ripe and run.diverging())
        return self.found(
            reading,
            Severity.WARNING if suffers else Severity.INFO,
            f"Half of the heads of {where[0]} have an attention entropy of {entropy[worst]:.2g} of uniform or less "
            f"(limit {self.entropy:g}), at logits up to {logit[worst]:.0f} (limit {self.logit:.0f}), {self.samples} "
            f"samples in a row{and_more(len(indices))}"
            + run.in_words(suffers) + ".",
            where=where,
            evidence={
                "value": float(entropy[worst]),
                "limit": self.entropy,
                "max_logit": float(logit[worst]),
                "logit_limit": self.logit,
                "modules": len(indices),
                "relative_loss": run.relative,
            },
            advice=(
                "check that logits are divided by sqrt(head width), and that query and key weights were drawn with a "
                "standard deviation of about 1 / sqrt(model width)",
                "repeat the first 200 steps with a third of the learning rate and a warm-up: if the logits stay small, "
                "that was it",
                f"normalize queries and keys in {where[0]} (QK normalization) and compare the loss after 200 steps",
            ),
            step=self._held.first(mask),
        )  # fmt: skip
