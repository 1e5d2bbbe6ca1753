from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from lightning_diag.detectors.gradient_scaler_skipping import GradientScalerSkipping
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading
from tests.detectors.parameter_stream import assert_resumes, findings, first, run


def steps(skipped: Iterable[int], count: int = 200, scale: float = 65536.0) -> list[Reading]:
    gone = set(skipped)
    return [
        Reading(s, 0, {"scaler/skipped": np.float64(s in gone), "scaler/scale": np.float64(scale)})
        for s in range(1, count + 1)
    ]


def test_a_quarter_of_the_steps_is_a_warning() -> None:
    found = findings(GradientScalerSkipping(), steps(range(100, 200, 4)))
    assert first(found, Severity.WARNING) == 116 and found[0].first_step == 100
    assert "skipped 5 of the last 20 steps (limit 5)" in found[0].message
    assert {f.severity for f in found} == {Severity.WARNING}


def test_one_in_five_is_silent() -> None:
    assert not findings(GradientScalerSkipping(), steps(range(100, 200, 5)))


def test_all_skipped_is_critical_and_names_the_first_step() -> None:
    found = findings(GradientScalerSkipping(), steps(range(100, 201)))
    assert first(found, Severity.WARNING) == 104 and first(found, Severity.CRITICAL) == 119
    assert found[0].first_step == 100 and "nothing is trained" in found[-1].message


def test_the_search_for_the_first_scale_is_info() -> None:
    found = findings(GradientScalerSkipping(), steps(range(1, 20)))
    assert found and {f.severity for f in found} == {Severity.INFO}


def test_never_a_good_step_from_the_start_is_critical() -> None:
    assert first(findings(GradientScalerSkipping(), steps(range(1, 200))), Severity.CRITICAL) == 41


def test_a_scale_below_one_is_a_warning_once_more_is_skipped() -> None:
    assert first(findings(GradientScalerSkipping(), steps([100], scale=0.5)), Severity.WARNING) == 100
    assert not findings(GradientScalerSkipping(), steps([], scale=0.5))


def test_not_measurable_at_first_and_without_the_signal() -> None:
    said = run(GradientScalerSkipping(), steps([], 20))
    assert said[18] == "fewer than 20 steps" and said[19] is None
    assert run(GradientScalerSkipping(), [Reading(1, 0, {})]) == ["skipped steps are not measured at this step"]


def test_nan_counts_as_not_skipped() -> None:
    readings = [Reading(s, 0, {"scaler/skipped": np.float64(np.nan)}) for s in range(1, 50)]
    assert not findings(GradientScalerSkipping(), readings)


def test_resumes() -> None:
    assert_resumes(GradientScalerSkipping, steps(range(100, 200, 4)))


@pytest.mark.parametrize(("argument", "value"), [("limit", 0), ("window", 3), ("floor", -1.0), ("settle", -1)])
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        GradientScalerSkipping(**{argument: value})  # type: ignore[arg-type]
