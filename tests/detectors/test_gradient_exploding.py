from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.gradient_exploding import GradientExploding
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from tests.detectors.parameter_stream import Make, Values, assert_resumes, facts, findings, first, run, stream, values


def scaled(factor: float, relative: float, onset: int = 1) -> Make:
    """Gradients multiplied by ``factor`` from ``onset`` on, where the loss stands at ``relative`` times chance."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative if step >= onset else 0.5)
        if step >= onset:
            made["grad/parameter_norm"] = made["grad/parameter_norm"] * factor
        made["loss/best"] = np.float64(2.3 * min(relative, 0.5 if onset > 1 else relative))
        return made

    return make


def test_far_larger_than_the_weights() -> None:
    found = findings(GradientExploding(), stream(scaled(2000, 1.5)))
    assert (first(found, Severity.INFO), first(found, Severity.WARNING)) == (10, 20)
    value = found[-1].evidence["value"]
    assert isinstance(value, float)
    assert value == pytest.approx(2000 * 0.03 / 2.3, rel=0.5)
    assert "limit 5" in found[-1].message


def test_the_worse_the_loss_the_sooner_it_is_told() -> None:
    known = facts(planned_steps=500)
    assert first(findings(GradientExploding(), stream(scaled(2000, 6.0), known=known)), Severity.WARNING) == 12
    assert first(findings(GradientExploding(), stream(scaled(2000, 4.0), known=known)), Severity.WARNING) == 20


def test_with_a_yes_in_fifty_an_even_guess_is_the_unit_and_not_the_best_guess() -> None:
    seldom = facts(planned_steps=500, chance_loss=0.098, task="classification", loss_kind="bce")  # 7.07 times less
    plain = facts(planned_steps=500)
    assert findings(GradientExploding(), stream(scaled(1000, 7.0), known=seldom)) == []  # 1000 * 0.03 / 2.3 / 7.07 = 2
    assert findings(GradientExploding(), stream(scaled(1000, 7.0), known=plain))
    worse = findings(GradientExploding(), stream(scaled(20_000, 14.0), known=seldom))  # twice an even guess
    assert first(worse, Severity.WARNING) == 20 and "times the loss of an even guess" in worse[0].message
    level = findings(GradientExploding(), stream(scaled(20_000, 7.0), range(1, 60), seldom))
    assert {f.severity for f in level} == {Severity.INFO}


def test_of_losses_that_compete_nobody_knows_the_scale() -> None:
    known = facts(optimizers=("Adam", "Adam"), automatic_optimization=False)
    assert findings(GradientExploding(), stream(scaled(1e4, float("nan")), known=known)) == []
    found = findings(GradientExploding(), stream(scaled(150, float("nan"), onset=100), known=known))
    assert found and {f.severity for f in found} == {Severity.INFO}
    assert "times what it was" in found[0].message


def test_far_larger_than_before() -> None:
    found = findings(GradientExploding(), stream(scaled(150, 1.5, onset=100)))
    assert found[0].last_step == 105
    assert found[0].severity == Severity.WARNING
    assert found[0].evidence["jump"] == pytest.approx(150, rel=0.5)
    assert "times what it was (limit 100" in found[0].message


def test_an_alarm_does_not_become_its_own_baseline_at_once_but_does_so_in_the_end() -> None:
    found = findings(GradientExploding(), stream(scaled(150, 1.5, onset=100)))
    assert 160 <= found[-1].last_step <= 240


def test_without_consequence_it_is_info() -> None:
    assert {f.severity for f in findings(GradientExploding(), stream(scaled(2000, 0.6)))} == {Severity.INFO}


def test_where_chance_is_not_known_a_rise_has_to_last() -> None:
    blind = facts(chance_loss=None)
    assert first(findings(GradientExploding(), stream(scaled(2000, 1.5), known=blind)), Severity.WARNING) == 100
    assert first(findings(GradientExploding(), stream(scaled(2000, 11.0), known=blind)), Severity.WARNING) == 30

    def falling(step: int, rng: np.random.Generator) -> Values:
        return scaled(2000, 5.0 if step < 60 else 1.5)(step, rng)

    assert first(findings(GradientExploding(), stream(falling, known=blind)), Severity.WARNING) is None


def test_a_large_first_loss_that_falls_is_info_while_the_run_is_young() -> None:
    def falling(step: int, rng: np.random.Generator) -> Values:
        return scaled(2000, max(0.5, 4.0 * 0.96**step))(step, rng)

    assert {f.severity for f in findings(GradientExploding(), stream(falling))} == {Severity.INFO}

    def stays(step: int, rng: np.random.Generator) -> Values:
        return scaled(2000, 4.0 if step < 15 else 1.5)(step, rng)

    assert first(findings(GradientExploding(), stream(stays)), Severity.WARNING) == 60


def test_a_lost_run_is_critical() -> None:
    found = findings(GradientExploding(), stream(scaled(2000, 50.0)))
    assert first(found, Severity.CRITICAL) == 60


def test_a_high_loss_that_falls_fast_is_no_lost_run() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return scaled(2000, 5000 / step)(step, rng)

    assert first(findings(GradientExploding(), stream(make)), Severity.CRITICAL) is None


def test_the_unit_of_the_loss_does_not_matter() -> None:
    """Targets that are not scaled: loss and gradients are 5,000 times larger, the loss starts at 5 times chance."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 5.0)
        made["grad/parameter_norm"] = made["grad/parameter_norm"] * 5000
        return {**made, "loss/level": np.float64(5.0 * 11_500), "loss/best": np.float64(5.0 * 11_500)}

    assert not findings(GradientExploding(), stream(make, known=facts(chance_loss=11_500.0)))


def test_says_that_clipping_is_on_and_that_adam_does_not_care() -> None:
    known = facts(clip_val=1.0, optimizers=("AdamW",))
    found = findings(GradientExploding(), stream(scaled(2000, 1.5), known=known))
    assert "clipping at 1 is on" in found[-1].message
    assert "AdamW is not sensitive" in found[-1].message
    assert not any("gradient_clip_val" in advice for advice in found[-1].advice)


def test_parameters_of_no_optimizer_add_up_and_do_not_count() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.5)
        made["grad/parameter_norm"][:4] *= 100 * step
        return made

    assert not findings(GradientExploding(), stream(make, known=facts(in_optimizer=(False,) * 4 + (True,) * 2)))


def test_weights_that_started_at_zero_do_not_count() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.5)
        made["weight/parameter_norm"][4] = 1e-6 * (step - 1)
        return made

    assert not findings(GradientExploding(), stream(make))


def test_a_single_spike_is_quiet() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return scaled(1e5 if step == 150 else 1, 1.5)(step, rng)

    assert not findings(GradientExploding(), stream(make))


def test_skips_non_finite_gradients_and_fires_after_them() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = scaled(2000, 1.5)(step, rng)
        if step < 50:
            made["grad/parameter_norm"][2] = np.inf
        return made

    said = run(GradientExploding(), stream(make))
    assert said[10] == "the gradient was not finite at every sample so far"
    assert first(findings(GradientExploding(), stream(make)), Severity.WARNING) == 59


def test_resumes() -> None:
    assert_resumes(GradientExploding, stream(scaled(150, 1.5, onset=100)))
    assert_resumes(GradientExploding, stream(scaled(2000, 50.0)))


@pytest.mark.parametrize(
    ("argument", "value"), [("ratio", 0), ("samples", 1), ("jump", 1), ("baseline", "64"), ("worse", -1), ("lost", -1)]
)
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value!r}"):
        GradientExploding(**{argument: value})  # type: ignore[arg-type]
