"""The rule over readings made by hand; a run directory works the same."""

from __future__ import annotations

from rate_jump import RateJump

from lightning_diag import Diagnosis, Reading, check


def judged(*rates: float) -> Diagnosis:
    """Run the rule over learning rates, one a step."""
    return check([Reading(step, 0, {"lr": [rate]}) for step, rate in enumerate(rates, 1)], detectors=[RateJump()])


def test_it_fires_at_the_jump_and_not_in_a_warm_up() -> None:
    """A rate that doubles is a warm-up."""
    assert judged(1e-4, 2e-4, 4e-4, 8e-4).healthy
    (finding,) = judged(1e-3, 1e-3, 0.5, 0.5).findings
    assert (finding.rule, finding.first_step) == ("updates/rate-jump", 3)


def test_a_rate_that_is_no_number_is_survived() -> None:
    """The real jump after it is still found."""
    assert [f.step for f in judged(1e-3, float("nan"), 1e-3, float("inf"), 1e-3, 0.5).findings] == [6]
