from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.update_too_large import UpdateTooLarge
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from tests.detectors.parameter_stream import (
    MATRICES,
    NUMEL,
    Make,
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


def growing(per_step: float, relative: float, until: int = 60, ratio: float = 0.01, heals: int = 10**9) -> Make:
    """Matrices grow by a factor ``per_step`` a step until ``until``; R is ``relative`` until it ``heals``."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative if step < heals else 0.3)
        made["weight/parameter_norm"][MATRICES] *= per_step ** min(step, until)
        made["update/parameter_ratio"][:] = ratio
        made["loss/best"] = np.float64(2.3)
        if step == 1:
            made["loss/level"] = np.float64(2.3)
        return made

    return make


def test_growth_without_consequence_is_info_while_it_lasts() -> None:
    found = findings(UpdateTooLarge(), stream(growing(1.04, 0.4)))
    assert {f.severity for f in found} == {Severity.INFO}
    assert found[0].last_step == 22
    assert set(found[0].where) <= {"body.0.weight", "body.1.weight", "head.weight"}
    assert found[0].where
    assert found[-1].last_step < 90


def test_worse_than_at_the_start_is_a_warning_after_ten_losses() -> None:
    found = findings(UpdateTooLarge(), stream(growing(1.2, 1.3)))
    assert first(found, Severity.WARNING) == 10
    assert "limit 2.24" in found[0].message
    assert "learning rate 0.1" in found[0].message
    assert found[0].advice[0] == "repeat the first 200 steps with lr=0.01"


def test_above_chance_is_a_warning_later() -> None:
    found = findings(UpdateTooLarge(), stream(growing(1.04, 1.1)))
    assert first(found, Severity.WARNING) == 54


def test_at_chance_long_after_is_a_warning_and_critical_after_growth_of_ten() -> None:
    assert first(findings(UpdateTooLarge(), stream(growing(1.04, 0.98))), Severity.WARNING) == 122
    found = findings(UpdateTooLarge(), stream(growing(1.15, 0.98)))
    assert first(found, Severity.CRITICAL) == 107
    assert first(findings(UpdateTooLarge(), stream(growing(1.04, 0.98))), Severity.CRITICAL) is None


def test_growth_of_more_than_five_times_needs_more_to_be_forgotten() -> None:
    assert first(findings(UpdateTooLarge(), stream(growing(1.08, 0.3))), Severity.WARNING) == 124
    assert first(findings(UpdateTooLarge(), stream(growing(1.04, 0.3))), Severity.WARNING) is None
    assert first(findings(UpdateTooLarge(), stream(growing(1.08, 0.1))), Severity.WARNING) is None


def test_growth_by_three_leaves_half_of_chance_behind() -> None:
    assert first(findings(UpdateTooLarge(), stream(growing(1.04, 0.6))), Severity.WARNING) == 122
    assert first(findings(UpdateTooLarge(), stream(growing(1.03, 0.6))), Severity.WARNING) is None


def test_far_above_its_best_is_a_warning() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = growing(1.04, 0.8)(step, rng)
        return {**made, "loss/best": np.float64(1.0)}

    assert first(findings(UpdateTooLarge(), stream(make)), Severity.WARNING) == 54


def test_healed_is_forgotten() -> None:
    found = findings(UpdateTooLarge(), stream(growing(1.04, 1.1, heals=30), range(1, 600)))
    assert {f.severity for f in found} == {Severity.INFO}


@pytest.mark.parametrize(("relative", "worse"), [(0.3, 150), (0.6, 400)])
def test_what_comes_after_it_healed_or_long_after_it_is_another_matter(relative: float, worse: int) -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return growing(1.03, relative if step < worse else 1.3)(step, rng)

    assert first(findings(UpdateTooLarge(), stream(make, range(1, 600))), Severity.WARNING) is None


def test_what_comes_soon_after_is_not() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return growing(1.03, 0.6 if step < 150 else 1.3)(step, rng)

    assert first(findings(UpdateTooLarge(), stream(make, range(1, 600))), Severity.WARNING) == 150


def test_the_update_ratio_alone() -> None:
    found = findings(UpdateTooLarge(), stream(growing(1.0, 1.1, ratio=0.3)))
    assert (first(found, Severity.INFO), first(found, Severity.WARNING)) == (13, 45)
    assert "Steps change the weights by 0.3 of their size" in found[0].message


@pytest.mark.parametrize("every", [1, 5, 20, 100])
def test_growth_is_over_steps_whatever_the_sampling(every: int) -> None:
    """1.02 a step is 0.26 decades in 30 steps, 1.04 is 0.51."""
    steps = range(1, 1000, every)
    assert not findings(UpdateTooLarge(), stream(growing(1.02, 1.1, until=1000), steps))
    assert findings(UpdateTooLarge(), stream(growing(1.04, 1.1, until=1000), steps))


def test_weights_that_started_at_zero_have_to_grow() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.1)
        made["weight/parameter_norm"][MATRICES] = WEIGHT[MATRICES] * (step - 1) / 2000
        return made

    assert not findings(UpdateTooLarge(), stream(make))


def test_small_weights_may_grow_to_the_usual_scale_and_not_beyond() -> None:
    def make(top: float) -> Make:
        def at(step: int, rng: np.random.Generator) -> Values:
            made = values(rng, 1.1)
            made["weight/parameter_norm"][MATRICES] = WEIGHT[MATRICES] * np.clip(1.5 ** (step - 20), 0.01, top)
            return made

        return at

    assert not findings(UpdateTooLarge(), stream(make(0.5)))
    assert findings(UpdateTooLarge(), stream(make(3.0)))


def test_biases_and_one_layer_do_not_make_it() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 1.1)
        made["weight/parameter_norm"][[1, 3, 4, 5]] *= 1.1**step
        return made

    assert not findings(UpdateTooLarge(), stream(make))


def test_when_chance_is_not_known_the_first_loss_counts() -> None:
    """The first ten losses are too high already, so R is 1; the very first loss was 2.3."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = growing(1.2, 1.0)(step, rng)
        return {**made, "loss/level": np.float64(2.3 if step == 1 else 5.0)}

    found = findings(UpdateTooLarge(), stream(make, known=facts(chance_loss=None)))
    assert first(found, Severity.WARNING) == 10


def test_skips_non_finite_weights_and_fires_after_them() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = growing(1.04, 1.1)(step, rng)
        if step % 2:
            made["weight/parameter_norm"][:] = np.nan
            made["update/parameter_ratio"][:] = np.inf
        return made

    assert isinstance(run(UpdateTooLarge(), stream(make))[0], str)
    assert first(findings(UpdateTooLarge(), stream(make)), Severity.WARNING) is not None


def test_resumes() -> None:
    assert_resumes(UpdateTooLarge, stream(growing(1.15, 0.98)))
    assert_resumes(UpdateTooLarge, stream(growing(1.0, 1.1, ratio=0.3), range(1, 900, 7)))


@pytest.mark.parametrize(
    ("argument", "value"), [("growth", 0), ("ratio", float("inf")), ("strong", 0), ("worse", -1), ("stuck", -1)]
)
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        UpdateTooLarge(**{argument: value})
