"""What all eight rules over gradients and updates have in common."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_diag.detectors.base import Detector
from lightning_diag.detectors.gradient_always_clipped import GradientAlwaysClipped
from lightning_diag.detectors.gradient_exploding import GradientExploding
from lightning_diag.detectors.gradient_non_finite import GradientNonFinite
from lightning_diag.detectors.gradient_unreached import GradientUnreached
from lightning_diag.detectors.gradient_vanishing import GradientVanishing
from lightning_diag.detectors.update_frozen import UpdateFrozen
from lightning_diag.detectors.update_too_large import UpdateTooLarge
from lightning_diag.detectors.update_too_small import UpdateTooSmall
from lightning_diag.reading import Facts, Reading
from tests.detectors.parameter_stream import P, Values, cost_s, facts, findings, run, stream, values

RULES = (
    GradientVanishing,
    GradientExploding,
    GradientNonFinite,
    GradientUnreached,
    GradientAlwaysClipped,
    UpdateTooLarge,
    UpdateTooSmall,
    UpdateFrozen,
)
CADENCES = (range(1, 201), [*range(1, 26), *range(100, 5000, 100)], range(7, 200_000, 1000))


def healthy(step: int, rng: np.random.Generator) -> Values:
    """The loss falls, one step in five is clipped, a warm-up is followed by a decay."""
    made = values(rng, 0.1 + 0.9 * math.exp(-step / 80), lr=np.array([0.1 * min(1, step / 30) * math.exp(-step / 1e5)]))
    clipped = step % 5 == 0
    return {
        **made,
        "grad/clipped": np.float64(clipped),
        "grad/norm_after_clip": made["grad/norm"] / (1 + clipped),
        "loss/train": made["loss/level"],
    }


@pytest.mark.parametrize("steps", CADENCES, ids=("every step", "dense then sparse", "sparse"))
@pytest.mark.parametrize("rule", RULES)
def test_quiet_on_a_healthy_run(rule: type[Detector], steps: range | list[int]) -> None:
    for seed in range(3):
        known = facts(clip_val=1.0, planned_steps=max(steps))
        said = run(rule(), stream(healthy, steps, known, seed))
        assert not [f for f in said if f is not None and not isinstance(f, str)]
        assert said[-1] is None or said[-1] == "the learning rate is warming up or has decayed"


@pytest.mark.parametrize("rule", RULES)
def test_a_constant_stream_is_quiet(rule: type[Detector]) -> None:
    made = healthy(101, np.random.default_rng(0))
    made["loss/relative"] = np.float64(0.4)
    assert not findings(rule(), stream(lambda step, rng: made, known=facts(clip_val=1.0)))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("known", [Facts(), facts(), facts(parameter_kind=("matrix",))])
def test_says_why_when_its_signals_are_absent(rule: type[Detector], known: Facts) -> None:
    (said,) = run(rule(), [Reading(1, 0, {"loss/relative": np.float64(1.0)}, known)])
    assert isinstance(said, str)
    assert len(said) > 10


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_survives_a_stretch_that_is_not_finite(rule: type[Detector], value: float) -> None:
    """After it every rule judges again; only ``gradients/non-finite`` fires, and only in it."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = healthy(step, rng)
        if 100 <= step < 110:
            for name in ("grad/parameter_norm", "weight/parameter_norm", "update/parameter_ratio"):
                made[name] = np.full(P, value)
            for name in ("grad/norm", "grad/norm_after_clip", "loss/train"):
                made[name] = np.float64(value)
            for name in ("loss/relative", "loss/level", "loss/best"):
                made.pop(name)
        return made

    said = run(rule(), stream(make, known=facts(clip_val=1.0)))
    fired = [i + 1 for i, f in enumerate(said) if f is not None and not isinstance(f, str)]
    assert fired == (list(range(100, 110)) if rule is GradientNonFinite else [])
    assert said[-1] is None


@pytest.mark.parametrize("rule", RULES)
def test_empty_arrays_are_not_measurable(rule: type[Detector]) -> None:
    empty = {name: np.zeros(0) for name in ("grad/parameter_norm", "weight/parameter_norm", "update/parameter_ratio")}
    empty |= {"grad/missing": np.zeros(0), "lr": np.zeros(0)}
    said = run(rule(), [Reading(1, 0, empty, Facts())])
    assert said == [None] if rule is GradientNonFinite else isinstance(said[0], str)


@pytest.mark.parametrize("rule", RULES)
def test_no_parameter_names_are_needed(rule: type[Detector]) -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = healthy(step, rng)
        made |= {"grad/clipped": np.float64(1), "loss/relative": np.float64(1.3), "loss/level": np.float64(3.0)}
        made["grad/parameter_norm"][:] = (
            (1e-9, 1e-9, 1e-3, 1e-3, np.nan, 1e3) if step > 200 else (0, 0, 1e-3, 1e-3, 1, 1e3)
        )
        made["update/parameter_ratio"][:] = (0, 0, 1e-5, 1e-5, 1e-5, 0)
        made["grad/missing"][3] = 1
        made["weight/parameter_norm"][:] = 3.0
        return made

    for finding in findings(rule(), stream(make, known=facts(names={}, clip_val=1.0))):
        assert all(where.startswith("parameter ") for where in finding.where)


@pytest.mark.parametrize("rule", RULES)
def test_a_thousand_parameters_cost_little(rule: type[Detector]) -> None:
    """Measured 3 to 72 µs; the limit leaves room for a busy machine and still forbids a Python loop over names."""
    assert cost_s(rule(), clip_val=1.0) < 500e-6


@pytest.mark.parametrize("rule", RULES)
def test_memory_is_bounded(rule: type[Detector]) -> None:
    detector = rule()
    sizes = []
    for begin in (1, 2001):
        run(detector, stream(healthy, range(begin, begin + 2000), facts(clip_val=1.0, planned_steps=4000)))
        sizes.append(len(str(detector.state_dict())))
    assert sizes[1] < 1.3 * sizes[0]
