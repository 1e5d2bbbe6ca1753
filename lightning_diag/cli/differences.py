"""In what runs differ beside their curves: settings, versions, hyper-parameters, as far as the record holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_diag.cli.measured import Curves
from lightning_diag.logs import Log
from lightning_diag.record import Record

FACTS = (
    "planned_steps", "steps_per_epoch", "accumulate", "clip_val", "clip_algorithm", "precision", "optimizers",
    "automatic_optimization", "batch_size", "world_size", "strategy", "device", "task", "loss_kind", "num_classes",
    "normalized", "target_domain",
)  # fmt: skip
CLOSE = 1e-6  # relative difference of two numbers that are the same


@dataclass(frozen=True)
class Difference:
    """One setting that differs.

    Attributes:
        name: what.
        run: its value in the run; None where it isn't known.
        good: its values in the known-good runs.
    """

    name: str
    run: Any
    good: tuple[Any, ...]

    @property
    def sure(self) -> bool:
        """Whether all known-good runs agree, and the run does not."""
        return all(same(value, self.good[0]) for value in self.good)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"name": self.name, "run": self.run, "baselines": list(self.good), "baselines_agree": self.sure}


def settings(source: Record | Log, curves: Curves) -> dict[str, Any]:
    """Return name -> value of everything known of a run that isn't a result."""
    found: dict[str, Any] = {}
    rates = curves.values["lr"]
    rates = rates[[math.isfinite(rate) for rate in rates]]
    if rates.size:
        found["learning rate, highest"] = float(rates.max())
    found["steps"] = curves.last_step
    if isinstance(source, Log):
        return {**found, **_flat(source.table.config)}
    facts = source.facts
    found |= {name.replace("_", " "): getattr(facts, name) for name in FACTS}
    found["parameters"] = sum(facts.parameter_numel)
    meta = source.info["meta"]
    found["model"] = meta.get("model")
    hyperparameters = meta.get("hyperparameters")
    if isinstance(hyperparameters, Mapping):
        found |= _flat(hyperparameters)
    found |= {f"version of {name}": value for name, value in source.info["versions"].items()}
    return found


def differences(run: Mapping[str, Any], good: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return what differs from at least one known-good run; where these agree first.

    >>> [d.name for d in differences({"lr": 0.1, "seed": 1}, [{"lr": 0.01, "seed": 1}, {"lr": 0.01, "seed": 2}])]
    ['lr', 'seed']
    """
    found = []
    for name in dict.fromkeys([*run, *(name for other in good for name in other)]):
        item = Difference(name, run.get(name), tuple(other.get(name) for other in good))
        if not all(same(item.run, value) for value in item.good):
            found.append(item)
    return sorted(found, key=lambda item: not item.sure)


def same(a: Any, b: Any) -> bool:
    """Whether two settings are the same.

    >>> same(0.1, 0.1 + 1e-9), same((1, 2), [1, 2]), same(None, 0), same(1, True)
    (True, True, False, True)
    """
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=CLOSE) or (a != a and b != b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if set(value) == {"value", "desc"} or set(value) == {"value"}:  # how W&B keeps its config
                found[name] = value["value"]
            elif name.count(".") < 4:
                found |= _flat(value, f"{name}.")
        else:
            found[name] = value
    return found
