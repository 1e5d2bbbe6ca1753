"""Rules over gradients and updates, judged apart for each of several optimizers. Knows detectors' base only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from lightning_diag.signals import SIGNALS

Index = NDArray[np.intp]
_OF_PARAMETERS = (
    "parameter_kind", "parameter_numel", "parameter_fan_in", "parameter_decay", "in_optimizer",
)  # fmt: skip


class ByOptimizer:
    """Shows a detector what one optimizer trains and nothing else, as if it were the only one.

    A generator's gradients say nothing of a discriminator's: windows and baselines are each optimizer's own. The
    detector itself is the first optimizer's; its twins, made when they are needed, are the others'. An optimizer that
    did not step in a reading isn't judged at it: what was found of it holds until it steps again.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the run."""
        self._twins: dict[tuple[str, int], Detector] = {}
        self._held: dict[str, dict[int, Finding]] = {}  # rule -> optimizer -> what was found when it stepped last
        self._facts: Facts | None = None  # those that the parts are made of
        self._parts: list[tuple[Index, Index, Facts]] = []
        self._reading: Reading | None = None
        self._views: list[tuple[int, Reading]] = []

    def update(self, detector: Detector, reading: Reading) -> Finding | None:
        """Judge each optimizer that stepped; return the worst finding, which names the optimizer.

        Raises:
            NotMeasurable: no optimizer could be judged.
        """
        if len(reading.facts.optimizers) < 2 or not reading.facts.parameter_optimizer:
            return detector.update(reading)
        found = self._held.setdefault(detector.rule, {})
        reason, judged = NotMeasurable("no optimizer stepped"), False
        for k, view in self._seen(reading):
            found.pop(k, None)
            try:
                finding = self._twin(detector, k).update(view)
            except NotMeasurable as why:
                reason = why
                continue
            judged = True
            if finding is not None:
                found[k] = finding
        if not judged:
            raise reason
        return _joined(found, reading.facts.optimizer_names) if found else None

    def state_dict(self) -> dict[str, Any]:
        """Return the twins' states and what holds, plain data."""
        twins: dict[str, dict[str, Any]] = {}
        for (rule, k), twin in self._twins.items():
            twins.setdefault(rule, {})[str(k)] = twin.state_dict()
        held = {rule: {str(k): f.to_dict() for k, f in found.items()} for rule, found in self._held.items() if found}
        return {"twins": twins, "held": held}

    def load_state_dict(self, state: Mapping[str, Any], detectors: Mapping[str, Detector]) -> None:
        """Take back a :meth:`state_dict`; unknown rules are ignored."""
        self.reset()
        for rule, found in state.get("held", {}).items():
            self._held[rule] = {int(k): Finding.from_dict(data) for k, data in found.items()}
        for rule, states in state.get("twins", {}).items():
            for k, saved in states.items() if rule in detectors else ():
                self._twin(detectors[rule], int(k)).load_state_dict(saved)

    def _twin(self, detector: Detector, k: int) -> Detector:
        if k == 0:
            return detector
        key = detector.rule, k
        if key not in self._twins:
            self._twins[key] = type(detector)(**detector.parameters())
        return self._twins[key]

    def _seen(self, reading: Reading) -> list[tuple[int, Reading]]:
        """The reading as each optimizer that stepped sees it; made once for all detectors."""
        if self._reading is not reading:
            if self._facts is not reading.facts:
                self._facts, self._parts = reading.facts, _split(reading.facts)
            missing = reading.vector("grad/missing")
            self._views = [
                (k, _view(reading, k, *part)) for k, part in enumerate(self._parts) if _stepped(missing, part[0])
            ]
            self._reading = reading
        return self._views


def _split(facts: Facts) -> list[tuple[Index, Index, Facts]]:
    """For each optimizer the indices of its parameters and of its groups, and the facts as if it were alone."""
    holder = np.maximum(facts.parameter_optimizer, 0)  # what none holds is measured with the first
    groups = np.asarray(facts.group_optimizer, dtype=np.intp)
    parts = []
    for k, name in enumerate(facts.optimizers):
        mine, own = np.flatnonzero(holder == k), np.flatnonzero(groups == k)
        cut: dict[str, Any] = {field: _cut(getattr(facts, field), mine, len(holder)) for field in _OF_PARAMETERS}
        names = {**facts.names}
        for axis, index, count in (("parameter", mine, len(holder)), ("group", own, len(groups))):
            if axis in names:
                names[axis] = _cut(names[axis], index, count)
        alone = replace(
            facts, optimizers=(name,), shared_loss=not facts.competing, names=names, parameter_optimizer=(),
            group_optimizer=(), **cut,
        )  # fmt: skip
        parts.append((mine, own, alone))
    return parts


def _cut(values: Sequence[Any], index: Index, count: int) -> tuple[Any, ...]:
    return tuple(values[i] for i in index) if len(values) == count else tuple(values)


def _stepped(missing: NDArray[np.float64] | None, mine: Index) -> bool:
    """Whether anything was measured of these parameters at this step."""
    return len(mine) > 0 and (missing is None or bool(np.isfinite(missing[mine]).any()))


def _view(reading: Reading, k: int, mine: Index, own: Index, facts: Facts) -> Reading:
    values = dict(reading.values)
    for name, value in reading.values.items():
        axis = SIGNALS[name].axis if name in SIGNALS else None
        if axis == "parameter":
            values[name] = np.asarray(value)[mine]
        elif axis == "group":
            values[name] = np.asarray(value)[own]
    norms = reading.vector("grad/optimizer_norm")
    if norms is not None:
        values["grad/norm"] = norms[k]
    return replace(reading, values=values, facts=facts)


def _joined(found: Mapping[int, Finding], names: Sequence[str]) -> Finding:
    """One finding of those of several optimizers: the most severe leads, the others are named."""
    lead = min(found, key=lambda k: (-found[k].severity, k))
    like = sorted(k for k in found if k != lead)
    finding = found[lead]
    also = f" The same holds for {', '.join(names[k] for k in like)}." if like else ""
    places = [place for k in (lead, *like) for place in found[k].where or (names[k],)]
    return replace(
        finding,
        where=tuple(dict.fromkeys(places)),
        message=f"{names[lead]}: {finding.message}{also}",
        evidence={**finding.evidence, "optimizer": ", ".join(names[k] for k in (lead, *like))},
    )


def update_ratios(reading: Reading) -> dict[str, Any]:
    """Return ``update/optimizer_ratio``: each optimizer's step over its weights, NaN where it rested."""
    ratio, weight = reading.vector("update/parameter_ratio"), reading.vector("weight/parameter_norm")
    holder = np.asarray(reading.facts.parameter_optimizer)
    if ratio is None or weight is None or not len(ratio) == len(weight) == len(holder):
        return {}
    step, size = np.square(np.nan_to_num(ratio * weight)), np.square(weight)
    with np.errstate(invalid="ignore"):
        sums = [(step[holder == k].sum(), size[holder == k].sum()) for k in range(len(reading.facts.optimizers))]
        return {"update/optimizer_ratio": np.sqrt([s / w if w > 0 else np.nan for s, w in sums])}
