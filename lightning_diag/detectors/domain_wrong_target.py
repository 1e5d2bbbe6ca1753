"""``domains/wrong-target``: the run is steered by a metric of the wrong domain."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._domain_choice import Array, choose, named, present
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

_NO_SAMPLES = frozenset({"epoch", "step"})
_LOADER = re.compile(r"/dataloader_idx_(\d+)$")


class DomainWrongTarget(Detector):
    """A checkpoint, early stopping or scheduler follows a metric that holds no real sample, or few.

    Catches:
        The best checkpoint chosen on synthetic validation data: it need not be the best on real data, and early
        stopping stops when the wrong thing stands still.

    Formula:
        The metric's name tells which samples it is made of: ``/dataloader_idx_N`` = validation loader N; a word such
        as ``real`` or ``synthetic`` in it; else all validation samples (all training samples where it says ``train``).
        ``share`` = the target's share of them.

    Reads:
        ``domain/loader_samples``, ``domain/val_samples``, ``domain/train_samples``, and what the callbacks monitor.

    Args:
        mixed: share of the target under which a mixed metric is told. Higher = purer metrics asked for. Default 0.8.

    Fires when:
        the share is 0: warning; above 0 and under ``mixed``: info.

    False alarms:
        A metric logged by hand over chosen samples without a word of it in its name.

    Cost:
        A few string comparisons a validation pass.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"domain": ("synthetic", "real")}, monitored={"val/dataloader_idx_0": "EarlyStopping"})
        >>> values = {"domain/val_samples": np.array([80.0, 60.0]), "domain/loader_samples": np.diag([80.0, 60.0])}
        >>> found = DomainWrongTarget().update(Reading(100, 0, values, facts, stage="validation"))
        >>> found.step, found.where, str(found.severity)
        (100, ('val/dataloader_idx_0', 'synthetic'), 'warning')

    References:
        Gulrajani & Lopez-Paz, In search of lost domain generalization, ICLR 2021 (arXiv:2007.01434): model selection by
        the training domains against an oracle on the target.
    """

    rule: ClassVar[str] = "domains/wrong-target"
    code: ClassVar[str] = "D004"
    reads: ClassVar[tuple[str, ...]] = ("domain/named",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "The run follows a metric of the wrong domain"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 1

    def __init__(self, mixed: float = 0.8) -> None:
        self.mixed = number("mixed", mixed, 0.0, 1.0)
        super().__init__()

    def _reset(self) -> None:
        self._seen: dict[str, float] = {}  # training samples by domain so far

    def update(self, reading: Reading) -> Finding | None:
        """Judge what is monitored at one validation pass."""
        names, val, train = present(reading)
        for name, n in zip(names, train, strict=True):
            self._seen[name] = self._seen.get(name, 0.0) + float(n)
        train = np.array([self._seen[name] for name in names])
        if not reading.facts.monitored:
            raise NotMeasurable("no checkpoint, early stopping or scheduler follows a metric")
        t = choose(names, val, train, reading.facts.target_domain)
        worst: tuple[float, str, str] | None = None
        for metric in sorted(set(reading.facts.monitored) - _NO_SAMPLES):
            share, of = self._share(reading, metric, t, val, train)
            if share is not None and share < self.mixed and (worst is None or share < worst[0]):
                worst = (share, metric, of)
        return None if worst is None else self._finding(reading, names, t, *worst)

    @staticmethod
    def _share(reading: Reading, metric: str, t: int, val: Array, train: Array) -> tuple[float | None, str]:
        """The target's share of the samples a metric is made of, and which samples these are."""
        loader = _LOADER.search(metric)
        by_loader = reading.vector("domain/loader_samples")
        if loader is not None and by_loader is not None and int(loader[1]) < by_loader.shape[1]:
            counts, of = by_loader[:, int(loader[1])], f"validation loader {loader[1]}"
        elif any(says := named(metric)):
            return float(says[0]), "its name says that it"
        elif "train" in metric.lower():
            counts, of = train, "training"
        else:
            counts, of = val, "validation"
        total = float(counts.sum())
        return (float(counts[t]) / total if total > 0 else None), of

    def _finding(self, reading: Reading, names: tuple[str, ...], t: int, share: float, metric: str, of: str) -> Finding:
        target, who = names[t], reading.facts.monitored[metric]
        others = [name for i, name in enumerate(names) if i != t]
        rest = " and ".join(others)
        if share == 0:
            message = (
                f"{who} follows {metric!r}, which holds no {target} sample ({of} is all {rest}; limit {self.mixed:g})."
            )
        else:
            message = (
                f"{who} follows {metric!r}, in which {percent(share)} of the samples are {target} (limit "
                f"{percent(self.mixed)}), the others {rest}."
            )
        return self.found(
            reading,
            Severity.WARNING if share == 0 else Severity.INFO,
            message,
            where=[metric, *others],
            evidence={"value": share, "limit": self.mixed, "metric": metric, "follower": who, "target": target},
            advice=(
                f"validate {target} samples in a loader of their own and let {who} follow its metric "
                "('/dataloader_idx_N', or a name of your own)",
                f"evaluate the kept and the last checkpoint on {target}: a better last one is what the choice cost",
            ),
        )
