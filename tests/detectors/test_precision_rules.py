from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from lightning_diag.detectors.base import Detector
from lightning_diag.detectors.gradient_underflow import GradientUnderflow
from lightning_diag.detectors.update_lost import UpdateLost
from lightning_diag.diagnosis import diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.parameter_stream import assert_resumes, findings, first

FACTS = Facts(planned_steps=1000, chance_loss=2.3, precision="bf16-true")
SMALL = {"grad/quantized_frac": 0.8, "grad/zero_frac": 0.6}
LOST = {"update/lost_frac": 0.95}


def stream(values: Mapping[str, float], relative: float = 1.0, count: int = 300) -> list[Reading]:
    every = {**values, "loss/relative": relative, "lr": 0.01}
    return [Reading(s, 0, {n: np.float64(v) for n, v in every.items()}, FACTS) for s in range(1, count + 1)]


CASES = [(GradientUnderflow, SMALL), (UpdateLost, LOST)]


@pytest.mark.parametrize(("kind", "values"), CASES)
def test_a_note_at_once_and_a_warning_where_nothing_is_learned(
    kind: type[Detector], values: Mapping[str, float]
) -> None:
    found = findings(kind(), stream(values))
    assert found[0].severity == Severity.INFO and found[0].step <= 9
    assert first(found, Severity.WARNING) == 30
    assert first(findings(kind(), stream(values, relative=0.975)), Severity.WARNING) == 60
    assert {f.severity for f in findings(kind(), stream(values, relative=0.6))} == {Severity.INFO}


@pytest.mark.parametrize(("kind", "values"), CASES)
@pytest.mark.parametrize("value", [0.1, math.nan])
def test_quiet(kind: type[Detector], values: Mapping[str, float], value: float) -> None:
    assert not findings(kind(), stream({**values, next(iter(values)): value}))
    assert not findings(kind(), stream({}))


def test_most_steps_lost_are_a_warning_where_a_run_learns_slowly() -> None:
    def told(share: float, relative: float, decay: float = 1.0, facts: Facts = FACTS) -> tuple[Severity, int] | None:
        readings = []
        for step in range(1, 401):
            values = {"update/lost_frac": np.float64(share), "loss/relative": np.float64(relative)}
            rate = {"lr": np.array([1.0 if step < 250 else decay])}
            readings.append(Reading(step, 0, {**values, **rate}, facts))
        found = findings(UpdateLost(), readings)
        return (found[0].severity, found[0].last_step) if found else None

    assert told(0.65, 0.75) == (Severity.WARNING, 300)
    assert told(0.55, 0.75) is None  # the largest steps pass
    assert told(0.65, 0.65) is None  # it learns all the same
    assert told(0.65, 0.75, decay=0.2) is None  # small steps are meant
    assert told(0.65, 0.75, facts=replace(FACTS, chance_loss=None)) is None
    assert told(0.65, 0.75, facts=replace(FACTS, planned_steps=None)) is None


@pytest.mark.parametrize(("kind", "values"), CASES)
def test_state_goes_round(kind: type[Detector], values: Mapping[str, float]) -> None:
    assert_resumes(kind, stream(values, count=100))


def test_they_lead_to_the_precision_and_not_to_what_follows_from_it() -> None:
    def said(rule: str, severity: Severity, step: int) -> Finding:
        return Finding(rule, severity, step, 0, (), "...")

    followed = [said("gradients/vanishing", Severity.WARNING, 100), said("updates/frozen", Severity.WARNING, 100)]
    for rule in ("gradients/underflow", "updates/lost"):
        for severity in (Severity.INFO, Severity.WARNING):
            found = [*followed, said(rule, severity, 9), said("loss/not-learning", Severity.CRITICAL, 60)]
            assert diagnose(found).causes[0].name == "low-precision"
    assert diagnose(followed).causes[0].name != "low-precision"
