from __future__ import annotations

import pytest

from lightning_diag.detectors.activation_saturated import ActivationSaturated
from lightning_diag.errors import NotMeasurable
from tests.detectors.activation_stream import NAN, Signals, reading, saved_and_loaded, severities, verdicts


def flat(values: tuple[float, ...], units: tuple[float, ...]) -> Signals:
    return {"saturated_frac": values, "saturated_units_frac": units}


BAD = flat((0.1, 0.9, NAN), (0.0, 0.2, NAN))


@pytest.mark.parametrize("share", [0.15, 0.5, 0.59])
def test_healthy_layers_are_left_alone(share: float) -> None:
    found = verdicts(ActivationSaturated(), lambda _: flat((share, 0, 0), (0.05, 0, 0)), range(1, 200))
    assert severities(found) == {1: "-"}


def test_ten_samples_are_a_note_and_a_run_that_suffers_makes_a_warning() -> None:
    assert severities(verdicts(ActivationSaturated(), lambda _: BAD, range(1, 200), relative=0.2)) == {
        1: "-",
        10: "info",
    }
    assert severities(verdicts(ActivationSaturated(), lambda _: BAD, range(1, 200), relative=0.8)) == {
        1: "-",
        10: "info",
        60: "warning",
    }


def test_the_mean_of_the_samples_counts() -> None:
    good = flat((0.1,) * 3, (0.0,) * 3)
    mostly = verdicts(ActivationSaturated(), lambda step: BAD if step % 9 else good, range(1, 200), relative=0.2)
    assert severities(mostly) == {1: "-", 10: "info"}
    seldom = verdicts(ActivationSaturated(), lambda step: good if step % 9 else BAD, range(1, 200), relative=0.2)
    assert severities(seldom) == {1: "-"}
    healed = verdicts(ActivationSaturated(), lambda step: BAD if step < 50 else good, range(1, 200), relative=0.2)
    assert list(severities(healed).values()) == ["-", "info", "-"]


def test_either_share_will_do_and_the_module_is_named() -> None:
    by_units = verdicts(ActivationSaturated(), lambda _: flat((0.5, 0.2, 0), (0.7, 0, 0)), range(1, 20))[15]
    assert by_units is not None
    assert (by_units.where, by_units.evidence["limit"]) == (("a",), 0.5)
    assert by_units.evidence["value"] == pytest.approx(0.7)
    by_values = verdicts(ActivationSaturated(), lambda _: BAD, range(1, 20))[15]
    assert by_values is not None
    assert (by_values.where, by_values.first_step) == (("b",), 10)
    assert by_values.evidence["value"] == pytest.approx(0.9)


def test_functions_with_one_flat_side_are_not_its_business() -> None:
    with pytest.raises(NotMeasurable):
        ActivationSaturated().update(reading(1, flat((0.99, 0.9, NAN), (NAN, NAN, NAN))))


def test_a_gap_in_what_is_measured_neither_ends_nor_feeds_a_streak() -> None:
    found = verdicts(
        ActivationSaturated(), lambda step: BAD if step % 2 else flat((0.1, NAN, NAN), (0.0, NAN, NAN)), range(1, 40)
    )
    assert severities(found) == {1: "-", 19: "warning"}


def test_it_resumes_where_it_was() -> None:
    one = ActivationSaturated()
    verdicts(one, lambda _: BAD, range(1, 7))
    two = saved_and_loaded(one)
    for step in range(7, 80):
        now = reading(step, BAD)
        assert one.update(now) == two.update(now)
