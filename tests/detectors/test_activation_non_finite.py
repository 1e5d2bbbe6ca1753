from __future__ import annotations

import pytest

from lightning_diag.detectors.activation_non_finite import ActivationNonFinite
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Severity
from tests.detectors.activation_stream import NAN, reading, saved_and_loaded, severities, verdicts


def test_finite_outputs_are_left_alone() -> None:
    assert severities(verdicts(ActivationNonFinite(), lambda _: {"nonfinite_frac": (0, 0, NAN)}, range(1, 50))) == {
        1: "-"
    }


def test_the_first_module_of_the_forward_pass_leads() -> None:
    bad = {"nonfinite_frac": (0.5, 0.0, 0.01)}
    found = ActivationNonFinite().update(reading(7, bad, loss=NAN, order=(2, 0, 1)))
    assert found is not None
    assert found.severity is Severity.CRITICAL
    assert found.where == ("c", "a")
    assert "batch 6 of epoch 0" in found.advice[0]


def test_the_module_that_began_it_keeps_the_lead_when_everything_is_bad() -> None:
    detector = ActivationNonFinite()
    detector.update(reading(7, {"nonfinite_frac": (0, 0.1, 0.1)}, loss=NAN, order=(0, 1, 2)))
    found = saved_and_loaded(detector).update(reading(8, {"nonfinite_frac": (1, 1, 1)}, loss=NAN, order=(0, 1, 2)))
    assert found is not None
    assert found.where == ("b", "a", "c")


@pytest.mark.parametrize("loss", [0.5, None])
def test_rows_that_are_masked_out_later_are_a_note(loss: float | None) -> None:
    found = ActivationNonFinite().update(reading(7, {"nonfinite_frac": (0, 0.1, 0)}, loss=loss))
    assert found is not None
    assert found.severity is Severity.INFO


def test_nothing_measured_says_why() -> None:
    with pytest.raises(NotMeasurable, match="nowhere measured"):
        ActivationNonFinite().update(reading(1, {"nonfinite_frac": (NAN, NAN, NAN)}))
