"""Errors by domain: synthetic against real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning_diag import detectors
from lightning_diag.errors import ConfigurationError
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.session import Parts
from lightning_diag.probes.accuracy import AccuracyProbe
from lightning_diag.probes.chance import ChanceProbe
from lightning_diag.probes.domain_names import DomainNames
from lightning_diag.probes.domains import DomainProbe
from lightning_diag.probes.loss import LossProbe


class DomainGapMonitor(Monitor):
    """Watches whether what is learned in one domain (synthetic, simulated) holds in the one that counts (real).

    Per domain: training and validation error and loss, per class where there are classes; input mean, contrast and
    roughness; now and then whether a linear probe and an MMD tell the domains apart by their features; the cosine
    between the domains' gradients of the last layer.

    Signals: ``domain/*``.

    Rules: ``domains/*``.

    Args:
        domain: what names a sample's domain: a batch key; ``domain(batch, loader) -> Tensor | str | None`` with integer
            ids ``(B,)`` or one name, and the validation loader's index (0 in training); None = the step's own
            ``domain``, a batch key ``domain``, ``is_real`` or ``is_synthetic``, the data set's ``domain`` attribute, or
            the name or index of the validation loader, whichever is there first.
        target: name of the domain that counts; None = the one whose name says ``real`` or ``target``, else the only one
            that is mostly in validation.
        names: names of integer ids, in their order; or of all domains, which several processes need where names come
            with the batches.

    Raises:
        ConfigurationError: an argument is wrong.

    Example:
        >>> DomainGapMonitor(domain="source", target="real").target
        'real'
    """

    def __init__(
        self,
        domain: str | Callable[[Any, int | str], Any] | None = None,
        *,
        target: str | None = None,
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if target is not None and not isinstance(target, str):
            raise ConfigurationError(f"target must be a domain's name or None, got {target!r}")
        if isinstance(names, str):
            raise ConfigurationError(f"names must be a sequence of names, got {names!r}")
        DomainNames(domain, names)  # validates both
        if target is not None and names and target not in names:
            raise ConfigurationError(f"target {target!r} is none of names={tuple(names)!r}")
        self.domain, self.target, self.names = domain, target, tuple(names)

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        name = type(self).__name__
        probes = (LossProbe(), ChanceProbe(), AccuracyProbe(), DomainProbe(self.domain, self.names, self.target))
        return Parts(
            probes=[(name, probe) for probe in probes],
            detectors=[
                detectors.DomainGap(),
                detectors.DomainGapWidening(),
                detectors.DomainSeparable(),
                detectors.DomainWrongTarget(),
            ],
        )
