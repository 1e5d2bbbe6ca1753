from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.gradient_non_finite import GradientNonFinite
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading
from tests.detectors.parameter_stream import (
    NAMES,
    Make,
    P,
    Values,
    assert_resumes,
    facts,
    findings,
    run,
    stream,
    values,
)


def bad(steps: Iterable[int], which: slice = slice(0, 3), value: float = np.nan, loss: float = 1.0) -> Make:
    """Non-finite gradients at these steps in these parameters."""
    at = set(steps)

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng)
        made["loss/train"] = np.float64(loss if step in at else 1.0)
        if step in at:
            made["grad/parameter_norm"][which] = value
            made["grad/norm"] = np.float64(value)
        return made

    return make


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_critical_at_the_first_one_and_the_last_registered_leads(value: float) -> None:
    found = findings(GradientNonFinite(), stream(bad([40], value=value)))
    assert [(f.severity, f.step) for f in found] == [(Severity.CRITICAL, 40)]
    assert found[0].where == (NAMES[2], NAMES[1], NAMES[0])
    assert "and 2 more of 6 parameters is not finite" in found[0].message
    assert found[0].evidence["value"] == 3


def test_when_all_are_concerned_none_is_named() -> None:
    (found,) = findings(GradientNonFinite(), stream(bad([40], slice(0, P), loss=np.nan)))
    assert found.where == ()
    assert "in all 6 parameters" in found.message
    assert "so is the loss" in found.message
    assert "batch 40 of epoch 0" in found.advice[1]


def test_never_resolves() -> None:
    judge = Judge([GradientNonFinite()])
    for reading in stream(bad([40])):
        judge.update(reading)
    (found,) = judge.findings
    assert (found.status, found.first_step, found.last_step) == ("open", 40, 40)


def test_the_scaler_skips_now_and_then() -> None:
    known = facts(precision="16-mixed")
    assert not findings(GradientNonFinite(), stream(bad([40, 90, 91, 140, 250]), known=known))


def test_the_scaler_skips_too_often() -> None:
    known = facts(precision="16-mixed")
    found = findings(GradientNonFinite(), stream(bad(range(100, 150, 3)), known=known))
    assert (found[0].severity, found[0].step) == (Severity.WARNING, 112)
    assert found[0].evidence["value"] == 5
    assert "5 of the last 20 samples (limit 5)" in found[0].message


def test_the_scaler_never_settles_again() -> None:
    found = findings(GradientNonFinite(), stream(bad(range(100, 150)), known=facts(precision="16-mixed")))
    assert next(f.step for f in found if f.severity == Severity.CRITICAL) == 119


def test_the_scaler_searches_its_scale_at_the_start() -> None:
    assert not findings(GradientNonFinite(), stream(bad(range(1, 16)), known=facts(precision="16-mixed")))
    found = findings(GradientNonFinite(), stream(bad(range(1, 100)), known=facts(precision="16-mixed")))
    assert found[0].step == 25


def test_a_non_finite_weight_is_critical_under_the_scaler_too() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = bad([40])(step, rng)
        if step == 40:
            made["weight/parameter_norm"][0] = np.nan
        return made

    found = findings(GradientNonFinite(), stream(make, known=facts(precision="16-mixed")))
    assert [(f.severity, f.step) for f in found] == [(Severity.CRITICAL, 40)]


def test_pure_float16_has_no_scaler() -> None:
    assert findings(GradientNonFinite(), stream(bad([40]), known=facts(precision="16-true")))[0].step == 40


def test_the_optimizer_that_did_not_step_says_nothing() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng)
        for name in ("grad/parameter_norm", "grad/missing", "weight/parameter_norm"):
            made[name][:4] = np.nan
        return made

    assert set(run(GradientNonFinite(), stream(make))) == {None}


def test_the_global_norm_is_enough() -> None:
    readings = [Reading(s, 0, {"grad/norm": np.float64(np.inf if s == 3 else 1)}) for s in range(1, 6)]
    (found,) = findings(GradientNonFinite(), readings)
    assert (found.step, found.where) == (3, ())


def test_resumes() -> None:
    assert_resumes(GradientNonFinite, stream(bad([40, 41, 200])))
    assert_resumes(GradientNonFinite, stream(bad(range(95, 150, 3)), known=facts(precision="16-mixed")))


@pytest.mark.parametrize(("argument", "value"), [("window", 1), ("skips", 21), ("skips", 0)])
def test_says_which_argument_is_wrong(argument: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        GradientNonFinite(**{argument: value})
