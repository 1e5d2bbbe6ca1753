from __future__ import annotations

import pytest

from lightning_diag.detectors.activation_collapsed import ActivationCollapsed
from lightning_diag.errors import NotMeasurable
from tests.detectors.activation_stream import NAN, Signals, reading, saved_and_loaded, severities, verdicts


def varies(*values: float) -> Signals:
    return {"variation": values}


ORDER = (0, 1, 2)


@pytest.mark.parametrize("last", [0.5, 0.007, 0.0011])
def test_outputs_that_differ_are_left_alone(last: float) -> None:
    found = verdicts(ActivationCollapsed(), lambda _: varies(0.5, 0.3, last), range(1, 200), order=ORDER)
    assert severities(found) == {1: "-"}


def test_a_branch_that_is_the_same_by_design_is_left_alone() -> None:
    found = verdicts(ActivationCollapsed(), lambda _: varies(1e-8, 0.0, 0.5), range(1, 200), order=ORDER)
    assert severities(found) == {1: "-"}


def test_a_head_that_starts_at_zero_is_left_alone() -> None:
    found = verdicts(
        ActivationCollapsed(), lambda step: varies(0.5, 0.5, 0.0 if step < 3 else 0.4), range(1, 99), order=ORDER
    )
    assert severities(found) == {1: "-"}


def test_the_same_answer_for_every_input_is_followed_back_to_where_it_begins() -> None:
    found = verdicts(ActivationCollapsed(), lambda _: varies(0.0, 1e-6, 0.4), range(1, 99), order=(1, 2, 0))
    assert severities(found) == {1: "-", 10: "info", 12: "critical"}
    last = found[98]
    assert last is not None
    assert last.where == ("a", "b")
    assert last.first_step == 1
    assert "b varies by 1e-06" in last.message


@pytest.mark.parametrize(("relative", "end"), [(0.3, "info"), (0.93, "warning"), (1.0, "critical")])
def test_the_loss_decides_how_bad_it_is(relative: float, end: str) -> None:
    found = verdicts(
        ActivationCollapsed(), lambda _: varies(0.5, 0.5, 0.0), range(1, 99), relative=relative, order=ORDER
    )
    assert list(severities(found).values())[-1] == end


def test_a_module_in_the_middle_that_lost_its_variation_is_a_note() -> None:
    found = verdicts(
        ActivationCollapsed(), lambda step: varies(0.5, 0.5 if step < 20 else 0.0, 0.5), range(1, 99), order=ORDER
    )
    assert severities(found) == {1: "-", 29: "info"}
    last = found[98]
    assert last is not None
    assert last.where == ("b",)
    assert last.first_step == 20


def test_a_gate_that_comes_to_its_end_is_left_alone() -> None:
    found = verdicts(
        ActivationCollapsed(), lambda step: varies(0.5, 0.5 if step < 20 else 1e-4, 0.5), range(1, 99), order=ORDER
    )
    assert severities(found) == {1: "-"}


def test_single_samples_and_non_finite_outputs_are_not_judged() -> None:
    with pytest.raises(NotMeasurable, match="two samples"):
        ActivationCollapsed().update(reading(1, varies(NAN, NAN, NAN)))
    with pytest.raises(NotMeasurable, match="finite"):
        ActivationCollapsed().update(reading(1, varies(NAN, float("inf"), NAN)))


def test_it_fires_after_a_gap_and_resumes_where_it_was() -> None:
    one = ActivationCollapsed()
    verdicts(one, lambda step: varies(0.5, 0.5, NAN if step % 2 else 0.0), range(1, 12), order=ORDER)
    two = saved_and_loaded(one)
    for step in range(12, 90):
        now = reading(step, varies(0.5, 0.5, 0.0), order=ORDER)
        assert one.update(now) == two.update(now)
    assert one.update(reading(90, varies(0.5, 0.5, 0.0), order=ORDER)) is not None
