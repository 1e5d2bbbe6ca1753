from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.update_frozen import UpdateFrozen
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from tests.detectors.parameter_stream import (
    NUMEL,
    Make,
    P,
    Values,
    assert_resumes,
    facts,
    findings,
    first,
    run,
    stream,
    values,
)

WEIGHT = np.sqrt(np.array(NUMEL)) * 0.1


def frozen(which: slice, relative: float = 0.3, grad: float | None = 0.0, lr: tuple[float, ...] = (0.1,)) -> Make:
    """These parameters never change; their gradient is ``grad`` (None = healthy)."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative, lr=np.array(lr))
        made["update/parameter_ratio"][which] = 0.0
        made["weight/parameter_norm"][which] = WEIGHT[which]
        if grad is not None:
            made["grad/parameter_norm"][which] = grad
        return made

    return make


def test_a_dead_layer_is_info_after_an_epoch() -> None:
    found = findings(UpdateFrozen(), stream(frozen(slice(0, 2))))
    assert (found[0].last_step, found[0].first_step, found[0].severity) == (100, 1, Severity.INFO)
    assert found[0].where == ("body.0",)
    assert "their gradient is exactly 0: body.0 (2 parameters)" in found[0].message
    assert {f.severity for f in found} == {Severity.INFO}


def test_stuck_at_chance_is_a_warning() -> None:
    assert findings(UpdateFrozen(), stream(frozen(slice(0, 2), relative=0.95)))[0].severity == Severity.WARNING


def test_biases_alone_hold_nobody_up() -> None:
    found = findings(UpdateFrozen(), stream(frozen(slice(1, 2), relative=0.95)))
    assert {f.severity for f in found} == {Severity.INFO}


def test_most_of_the_model_and_half_of_chance_is_a_warning_later() -> None:
    found = findings(UpdateFrozen(), stream(frozen(slice(0, 4), relative=0.6)))
    assert (first(found, Severity.INFO), first(found, Severity.WARNING)) == (100, 180)


def test_a_group_with_learning_rate_zero() -> None:
    found = findings(UpdateFrozen(), stream(frozen(slice(0, 2), grad=None, lr=(0.0, 0.1))))
    assert "their learning rate is 0" in found[0].message
    assert "param_groups" in found[0].advice[0]


def test_a_small_parameter_with_a_gradient_is_measured_whole() -> None:
    found = findings(UpdateFrozen(), stream(frozen(slice(4, 6), grad=None)))
    assert found[0].where == ("head",)
    assert "they get a gradient" in found[0].message


def test_a_large_parameter_with_a_gradient_may_have_moved_outside_its_sample() -> None:
    assert not findings(UpdateFrozen(), stream(frozen(slice(0, 1), grad=None)))


def test_steps_that_rounding_swallows_say_nothing() -> None:
    make = frozen(slice(4, 6), grad=1e-9)
    assert not findings(UpdateFrozen(), stream(make))
    assert findings(UpdateFrozen(), stream(make, known=facts(optimizers=("Adam",))))


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_low_precision_weights_are_another_rule(precision: str) -> None:
    make = frozen(slice(4, 6), grad=None)
    assert not findings(UpdateFrozen(), stream(make, known=facts(precision=precision)))


def test_moved_between_samples() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = frozen(slice(0, 2))(step, rng)
        made["weight/parameter_norm"][:2] *= 1 + 1e-4 * step
        return made

    assert not findings(UpdateFrozen(), stream(make, range(1, 3000, 10)))


def test_moves_now_and_then() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return values(rng) if step % 40 == 0 else frozen(slice(0, 2))(step, rng)

    assert not findings(UpdateFrozen(), stream(make))


def test_zero_weights_that_stay_zero() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = frozen(slice(5, 6))(step, rng)
        made["weight/parameter_norm"][5], made["update/parameter_ratio"][5] = 0.0, np.nan
        return made

    assert findings(UpdateFrozen(), stream(make))[0].where == ("head.bias",)


def test_without_gradient_or_optimizer_is_another_rule() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = frozen(slice(0, 2))(step, rng)
        made["grad/missing"][:2] = 1.0
        return made

    assert not findings(UpdateFrozen(), stream(make))
    known = facts(in_optimizer=(False,) * 2 + (True,) * 4)
    assert not findings(UpdateFrozen(), stream(frozen(slice(0, 2)), known=known))


def test_alternating_optimizers() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng)
        idle = slice(0, 4) if step % 2 else slice(4, 6)
        for name in ("grad/parameter_norm", "grad/missing", "update/parameter_ratio", "weight/parameter_norm"):
            made[name][idle] = np.nan
        return made

    assert run(UpdateFrozen(), stream(make))[-1] is None


def test_a_schedule_that_ended_at_zero_is_quiet_and_one_that_never_began_is_not() -> None:
    def ended(step: int, rng: np.random.Generator) -> Values:
        return values(rng) if step < 50 else frozen(slice(0, P), 0.3, None, (0.0,))(step, rng)

    said = run(UpdateFrozen(), stream(ended, range(1, 500)))
    assert said[-1] == "the learning rate is 0 now, after it was not"
    assert not findings(UpdateFrozen(), stream(ended, range(1, 500)))
    found = findings(UpdateFrozen(), stream(frozen(slice(0, P), 1.0, None, (0.0,))))
    assert (found[0].severity, found[0].where) == (Severity.WARNING, ())


def test_non_finite_samples_neither_add_nor_reset() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = frozen(slice(0, 2))(step, rng)
        if step % 2:
            made["grad/parameter_norm"][:] = np.nan
        return made

    found = findings(UpdateFrozen(), stream(make))
    assert (found[0].last_step, found[0].first_step) == (101, 2)


def test_resumes() -> None:
    assert_resumes(UpdateFrozen, stream(frozen(slice(0, 4), relative=0.6)))


@pytest.mark.parametrize(("argument", "value"), [("samples", 1), ("steps", 0), ("stuck", -1), ("share", 2)])
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        UpdateFrozen(**{argument: value})  # type: ignore[arg-type]
