from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_diag.detectors.gradient_always_clipped import GradientAlwaysClipped, wilson
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from tests.detectors.parameter_stream import Make, Values, assert_resumes, facts, findings, first, run, stream, values

SGD = facts(clip_val=0.01, clip_algorithm="norm")


def clipped(every: int = 1, relative: float = 0.99, shrink: float = 100.0, falling: float = 0.0) -> Make:
    """All steps clipped but one in ``every`` (1 = all), by ``shrink``; R falls by ``falling`` a step."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative - falling * step)
        off = every > 1 and step % every == 0
        after = made["grad/norm"] if off else made["grad/norm"] / shrink
        return {**made, "grad/clipped": np.float64(not off), "grad/norm_after_clip": after}

    return make


def test_sgd_that_learns_nothing_is_a_warning() -> None:
    found = findings(GradientAlwaysClipped(), stream(clipped(), known=SGD))
    assert (first(found, Severity.INFO), first(found, Severity.WARNING)) == (50, 60)
    assert found[-1].evidence["shrink"] == pytest.approx(100)
    assert "Clipping at 0.01 shortens 100 % of the steps" in found[-1].message
    assert f"gradient_clip_val={found[-1].evidence['norm_q90']:.3g}" in found[-1].advice[0]


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Lion", "Adafactor", "RMSprop", "FusedAdam"])
def test_scale_free_optimizers_are_never_a_warning(name: str) -> None:
    found = findings(GradientAlwaysClipped(), stream(clipped(), known=facts(clip_val=0.01, optimizers=(name,))))
    assert {f.severity for f in found} == {Severity.INFO}
    assert f"{name} makes up for a constant factor" in found[-1].message


def test_one_sgd_among_adams_counts() -> None:
    known = facts(clip_val=0.01, optimizers=("Adam", "SGD"))
    assert first(findings(GradientAlwaysClipped(), stream(clipped(), known=known)), Severity.WARNING) == 60


def test_a_run_that_learns_is_info() -> None:
    found = findings(GradientAlwaysClipped(), stream(clipped(relative=0.8, falling=1e-3), known=SGD))
    assert {f.severity for f in found} == {Severity.INFO}


def test_too_slow_for_its_plan_is_a_warning() -> None:
    found = findings(GradientAlwaysClipped(), stream(clipped(relative=0.8, falling=1e-4), known=SGD))
    assert first(found, Severity.WARNING) == 60


def test_more_left_after_a_third_of_the_plan_than_healthy_runs_have_is_a_warning() -> None:
    known = facts(clip_val=0.01, task="classification", num_classes=10, planned_steps=300)

    def said(relative: float) -> int | None:  # R where it is judged; at this pace next to nothing is left at the end
        made = clipped(relative=relative + 90 * 2.5e-3, falling=2.5e-3)
        return first(findings(GradientAlwaysClipped(), stream(made, range(1, 120), known=known)), Severity.WARNING)

    assert said(0.75) == 90
    assert said(0.7) is None


def test_stuck_counts_without_a_known_chance_and_slow_does_not() -> None:
    known = facts(clip_val=0.01, chance_loss=None)
    assert first(findings(GradientAlwaysClipped(), stream(clipped(), known=known)), Severity.WARNING) == 60
    assert (
        first(findings(GradientAlwaysClipped(), stream(clipped(relative=0.8), known=known)), Severity.WARNING) is None
    )


def test_clipping_by_little_is_info() -> None:
    found = findings(GradientAlwaysClipped(), stream(clipped(shrink=1.5), known=SGD))
    assert {f.severity for f in found} == {Severity.INFO}


def test_nine_in_ten_are_not_always() -> None:
    assert not findings(GradientAlwaysClipped(), stream(clipped(every=10), known=SGD))
    assert findings(GradientAlwaysClipped(), stream(clipped(every=50), known=SGD))


def test_by_value_advises_the_norm() -> None:
    found = findings(GradientAlwaysClipped(), stream(clipped(), known=facts(clip_val=0.01, clip_algorithm="value")))
    assert found[-1].advice[0].startswith("clip by norm instead of by value")


def test_wilson_against_its_definition() -> None:
    """The bound is the share p at which the observed share is 1.96 standard errors of p away."""
    for hits, count in ((50, 50), (48, 50), (3, 60)):
        p = wilson(hits, count)
        assert (hits / count - p) / math.sqrt(p * (1 - p) / count) == pytest.approx(1.96)


def test_without_clipping_it_is_not_measurable() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng)
        return {**made, "grad/clipped": np.float64(0), "grad/norm_after_clip": made["grad/norm"]}

    assert set(run(GradientAlwaysClipped(), stream(make))) == {"gradient clipping is off"}


def test_skips_non_finite_norms_and_fires_after_them() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = clipped()(step, rng)
        return {**made, "grad/norm": np.float64(np.nan)} if step <= 30 else made

    said = run(GradientAlwaysClipped(), stream(make, known=SGD))
    assert said[0] == "the gradient was not finite at every sample so far"
    assert first(findings(GradientAlwaysClipped(), stream(make, known=SGD)), Severity.WARNING) == 80


def test_resumes() -> None:
    assert_resumes(GradientAlwaysClipped, stream(clipped(every=50), known=SGD))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("share", 1.2), ("window", 9), ("samples", 101), ("shrink", 0.5), ("stuck", -0.1), ("target", -1)],
)
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        GradientAlwaysClipped(**{argument: value})  # type: ignore[arg-type]
