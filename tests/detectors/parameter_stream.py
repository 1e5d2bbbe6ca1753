"""Made-up streams of per-parameter readings, and how to run a detector over them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

NAMES = ("body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "head.weight", "head.bias")
KINDS = ("matrix", "vector") * 3
NUMEL = (4096, 64, 4096, 64, 640, 10)
MATRICES = np.array([0, 2, 4])
P = len(NAMES)
Values = dict[str, Any]
Make = Callable[[int, np.random.Generator], Values]


def facts(**changes: Any) -> Facts:
    """Facts of a plain classifier of three layers, 1,000 planned steps, SGD."""
    known: dict[str, Any] = {
        "planned_steps": 1000,
        "steps_per_epoch": 100,
        "optimizers": ("SGD",),
        "chance_loss": 2.3,
        "precision": "32-true",
        "names": {"parameter": NAMES},
        "parameter_kind": KINDS,
        "parameter_numel": NUMEL,
        "in_optimizer": (True,) * P,
    }
    return Facts(**{**known, **changes})


def values(rng: np.random.Generator, relative: float = 0.5, **changes: Any) -> Values:
    """One healthy reading: gradients of 3 % and updates of 0.3 % of the weights, R = ``relative``."""
    weight = np.sqrt(np.array(NUMEL)) * 0.1
    made: Values = {
        "grad/parameter_norm": 0.03 * weight * rng.lognormal(0, 0.3, P),
        "grad/missing": np.zeros(P),
        "weight/parameter_norm": weight * rng.lognormal(0, 0.01, P),
        "update/parameter_ratio": 0.003 * rng.lognormal(0, 0.3, P),
        "lr": np.array([0.1]),
        "loss/relative": np.float64(relative),
        "loss/level": np.float64(2.3 * relative),
        "loss/best": np.float64(min(2.3 * relative, 2.3)),
    }
    made |= changes
    made.setdefault("grad/norm", np.float64(np.sqrt(np.square(made["grad/parameter_norm"]).sum())))
    return made


def stream(
    make: Make,
    steps: Iterable[int] = range(1, 301),
    known: Facts | None = None,
    seed: int = 0,
) -> list[Reading]:
    """Readings at these steps, made by ``make(step, rng)``."""
    rng, known = np.random.default_rng(seed), known or facts()
    return [Reading(step, (step - 1) // 100, make(step, rng), known, batch_idx=step % 100) for step in steps]


def run(detector: Detector, readings: Iterable[Reading]) -> list[Finding | str | None]:
    """What the detector says of each reading: a finding, None, or why it can't judge."""
    said: list[Finding | str | None] = []
    for reading in readings:
        try:
            said.append(detector.update(reading))
        except NotMeasurable as reason:
            said.append(str(reason))
    return said


def findings(detector: Detector, readings: Iterable[Reading]) -> list[Finding]:
    """Only the findings."""
    return [f for f in run(detector, readings) if isinstance(f, Finding)]


def first(said: Iterable[Finding], severity: Severity) -> int | None:
    """Step of the first finding of this severity."""
    return next((f.last_step for f in said if f.severity == severity), None)


def assert_resumes(make: Callable[[], Detector], readings: list[Reading]) -> None:
    """A detector stopped in the middle, saved as JSON and loaded into a new one says what an unbroken one says."""
    unbroken = run(make(), readings)
    assert any(isinstance(f, Finding) for f in unbroken)
    for cut in (1, len(readings) // 3, 2 * len(readings) // 3):
        begun = make()
        before = run(begun, readings[:cut])
        state = json.loads(json.dumps(begun.state_dict()))
        copy = json.dumps(state)
        resumed = make()
        resumed.load_state_dict(state)
        assert before + run(resumed, readings[cut:]) == unbroken
        assert json.dumps(state) == copy


def cost_s(detector: Detector, count: int = 1000, readings: int = 200, **changes: Any) -> float:
    """Median seconds a reading of ``count`` parameters costs."""
    rng = np.random.default_rng(0)
    known = Facts(
        planned_steps=1000,
        chance_loss=2.3,
        optimizers=("SGD",),
        names={"parameter": tuple(f"layer{i // 2}.{'bias' if i % 2 else 'weight'}" for i in range(count))},
        parameter_kind=("matrix", "vector") * (count // 2),
        parameter_numel=(4096, 64) * (count // 2),
        in_optimizer=(True,) * count,
        **changes,
    )
    spent = []
    for step in range(1, readings + 1):
        made = {
            "grad/parameter_norm": rng.lognormal(-3, 0.3, count),
            "grad/missing": np.zeros(count),
            "weight/parameter_norm": rng.lognormal(0, 0.01, count),
            "update/parameter_ratio": 0.003 * rng.lognormal(0, 0.3, count),
            "grad/norm": np.float64(1.0),
            "grad/norm_after_clip": np.float64(0.5),
            "grad/clipped": np.float64(1.0),
            "lr": np.array([0.1]),
            "loss/relative": np.float64(0.5),
            "loss/level": np.float64(1.0),
            "loss/best": np.float64(1.0),
        }
        reading = Reading(step, 0, made, known)
        start = time.perf_counter()
        run(detector, [reading])
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))
