"""Activations."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lightning_diag.detectors.activation_attention_collapsed import ActivationAttentionCollapsed
from lightning_diag.detectors.activation_collapsed import ActivationCollapsed
from lightning_diag.detectors.activation_dead import ActivationDead
from lightning_diag.detectors.activation_non_finite import ActivationNonFinite
from lightning_diag.detectors.activation_saturated import ActivationSaturated
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.accuracy import AccuracyProbe
from lightning_diag.probes.activation import ActivationProbe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.loss import LossProbe


class ActivationMonitor(Monitor):
    """Watches what the layers give: dead and saturated units, non-finite and collapsed outputs, attention entropy.

    It finds nonlinearities, norm, recurrent and attention layers by itself. Functional forms are seen where they
    arrive, at the next linear or convolution layer (named ``fc2 (input)``): a ReLU by its exact zeros, a tanh by values
    that never leave -1..1. Functional GELU, SiLU, sigmoid and softmax aren't seen; attention written by hand is, if it
    has a head count and layers named like ``q_proj`` and ``k_proj`` or ``qkv``. Inside ``torch.compile`` nothing is.

    Signals: ``activation/*``, one entry a module; the loss beside them, because a symptom without a consequence is a
    note and no warning.

    Rules: ``activations/*``.

    Args:
        include: globs of module names (``encoder.*``) or type names (``*ReLU*``), or module types; None = all that are
            of a kind worth watching. A module of any other kind that matches is watched by its output.
        exclude: the same for modules to leave out.

    Raises:
        ConfigurationError: an argument is neither glob nor module type.

    Example:
        >>> ActivationMonitor(exclude=["head.*", "Dropout*"]).findings
        []
        >>> ActivationMonitor(include=3)
        Traceback (most recent call last):
        ...
        lightning_diag.errors.ConfigurationError: include must hold globs or module types, got 3
    """

    def __init__(
        self,
        include: Sequence[str | type[nn.Module]] | None = None,
        exclude: Sequence[str | type[nn.Module]] | None = None,
    ) -> None:
        super().__init__()
        ActivationProbe(include, exclude)  # validates both
        self.include = include
        self.exclude = exclude

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        return Parts(
            probes=[
                (name, LossProbe()),
                (name, ChanceProbe()),
                (name, AccuracyProbe()),
                (name, ActivationProbe(self.include, self.exclude)),
            ],
            detectors=[
                ActivationDead(),
                ActivationSaturated(),
                ActivationNonFinite(),
                ActivationCollapsed(),
                ActivationAttentionCollapsed(),
            ],
        )
