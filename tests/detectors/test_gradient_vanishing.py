from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.gradient_vanishing import GradientVanishing
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading
from tests.detectors.parameter_stream import (
    MATRICES,
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


def profile(decades: float, relative: float = 1.0, ratio: float = 1e-3) -> Make:
    """Gradients that lose ``decades`` from the last matrix to the first."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative)
        weight = made["weight/parameter_norm"]
        made["grad/parameter_norm"][MATRICES] = weight[MATRICES] * 10.0 ** np.array(
            [-2 - decades, -2 - decades / 2, -2]
        )
        made["update/parameter_ratio"] = np.full(P, ratio)
        return made

    return make


def test_a_deep_profile_is_info_at_once_and_a_warning_when_nothing_is_learned() -> None:
    found = findings(GradientVanishing(), stream(profile(4.0)))
    assert first(found, Severity.INFO) == 20
    assert first(found, Severity.WARNING) == 60
    assert found[-1].where == ("body.0.weight",)
    assert found[-1].evidence["value"] == pytest.approx(4.0)
    assert "4 decades" in found[-1].message
    assert "limit 2.5" in found[-1].message


def test_worst_layer_leads() -> None:
    found = findings(GradientVanishing(span_decades=1.0), stream(profile(4.0)))
    assert found[-1].where == ("body.0.weight", "body.1.weight")


def test_mechanism_alone_stays_info() -> None:
    found = findings(GradientVanishing(), stream(profile(4.0, relative=0.3)))
    assert found
    assert {f.severity for f in found} == {Severity.INFO}


def test_layers_that_do_not_move_count_while_the_loss_is_above_half_of_chance() -> None:
    assert first(findings(GradientVanishing(), stream(profile(4.0, 0.6, ratio=1e-6))), Severity.WARNING) == 60
    assert first(findings(GradientVanishing(), stream(profile(4.0, 0.6, ratio=1e-3))), Severity.WARNING) is None


def test_a_shallow_profile_is_quiet() -> None:
    said = run(GradientVanishing(), stream(profile(2.0)))
    assert said[-1] is None


def test_a_weak_layer_that_the_gradient_goes_around_is_quiet() -> None:
    """A gate beside the main path: the layers before it get as much as the last."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.0)
        made["grad/parameter_norm"][2] *= 1e-4
        return made

    assert not findings(GradientVanishing(), stream(make))


def test_gradients_of_zero_behind_a_first_layer_that_gets_some_are_info() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.0)
        made["grad/parameter_norm"][2] = 0.0
        return made

    assert {f.severity for f in findings(GradientVanishing(), stream(make))} == {Severity.INFO}


def test_a_deep_profile_of_strong_gradients_is_quiet() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = profile(4.0)(step, rng)
        made["grad/parameter_norm"] = made["grad/parameter_norm"] * 10**3.2
        return made

    assert not findings(GradientVanishing(), stream(make))


def test_small_gradients_everywhere_are_no_profile() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.0)
        made["grad/parameter_norm"] = made["grad/parameter_norm"] * 1e-6
        return made

    assert not findings(GradientVanishing(), stream(make))


def test_new_weights_that_still_grow_are_no_profile() -> None:
    """LoRA: the last matrix starts at 0, so its gradient over its weight is huge."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.0)
        made["weight/parameter_norm"][4] = 1e-4 * step
        made["grad/parameter_norm"][MATRICES] = [2e-3, 2e-3, 0.1]
        return made

    assert not findings(GradientVanishing(), stream(make))


def test_not_counted_in_a_warm_up() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return {**profile(4.0)(step, rng), "lr": np.array([1e-4 * min(step, 200)])}

    assert first(findings(GradientVanishing(), stream(make, range(1, 401))), Severity.WARNING) == 267


def test_later_in_a_long_plan() -> None:
    found = findings(GradientVanishing(), stream(profile(4.0), range(1, 1500), facts(planned_steps=10**6)))
    assert first(found, Severity.WARNING) == 1000


def test_against_its_own_first_losses_a_small_gain_is_enough() -> None:
    known = facts(chance_loss=None)
    assert first(findings(GradientVanishing(), stream(profile(4.0, 0.95), known=known)), Severity.WARNING) is None
    assert first(findings(GradientVanishing(), stream(profile(4.0, 0.99), known=known)), Severity.WARNING) == 60


def zeros(relative: float = 1.0, missing: float = 0.0, held: bool = True) -> list[Reading]:
    """The first two layers get a gradient of exactly 0 (or none at all)."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative)
        made["grad/parameter_norm"][:4] = 0.0
        made["grad/missing"][:4] = missing
        return made

    return stream(make, known=facts(in_optimizer=(held,) * 4 + (True,) * 2))


def test_gradients_of_exactly_zero_are_named() -> None:
    found = findings(GradientVanishing(), zeros())
    assert (first(found, Severity.INFO), first(found, Severity.WARNING)) == (20, 60)
    assert found[-1].where == ("body.1.weight", "body.0.weight")
    assert "exactly 0 in 2 of 3 weight matrices" in found[-1].message
    assert found[-1].first_step == 1


def test_zeros_without_consequence_are_info() -> None:
    assert {f.severity for f in findings(GradientVanishing(), zeros(relative=0.95))} == {Severity.INFO}


def test_missing_gradients_and_parameters_of_no_optimizer_are_another_rule() -> None:
    assert not findings(GradientVanishing(), zeros(missing=1.0))
    assert not findings(GradientVanishing(), zeros(held=False))


def test_a_layer_that_gets_a_gradient_now_and_then_is_quiet() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.0)
        made["grad/parameter_norm"][0] *= step % 10 == 0
        return made

    assert not findings(GradientVanishing(), stream(make))


def test_skips_non_finite_gradients_and_fires_after_them() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = profile(4.0)(step, rng)
        if step % 3 == 0:
            made["grad/parameter_norm"][0] = np.nan
        return made

    said = run(GradientVanishing(), stream(make))
    assert said[2] == "the gradient was not finite at every sample so far"
    assert first(findings(GradientVanishing(), stream(make)), Severity.WARNING) == 61


def test_the_optimizer_that_did_not_step_says_nothing() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.0)
        idle = slice(0, 4) if step % 2 else slice(4, 6)
        for name in ("grad/parameter_norm", "grad/missing", "weight/parameter_norm", "update/parameter_ratio"):
            made[name][idle] = np.nan
        return made

    assert not findings(GradientVanishing(), stream(make))


def test_resumes() -> None:
    assert_resumes(GradientVanishing, stream(profile(4.0)))
    assert_resumes(GradientVanishing, zeros())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("span_decades", 0.1),
        ("weak_log10", 1),
        ("samples", 2.5),
        ("stuck", -1),
        ("still_log10", float("nan")),
        ("slow", -1),
        ("constant", -2),
    ],
)
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        GradientVanishing(**{argument: value})  # type: ignore[arg-type]
