"""Pairs of networks end to end: healthy ones of any scale are left alone, a fault is told of the optimizer it is in."""

from __future__ import annotations

import pytest

from benchmarks.several_optimizers import FAULTY, HEALTHY, Gan, trained, warned

DISCRIMINATOR, GENERATOR = "Adam 0 (discriminator)", "Adam 1 (generator)"
STEPS = 100
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy(name: str) -> None:
    diag = trained(HEALTHY[name], 0, STEPS)
    assert warned(diag) == []
    about = [f.rule for f in diag.findings if f.rule.startswith(("gradients/", "updates/", "loss/spike"))]
    assert about == [] or "penalty" in name  # the critic's last bias has no gradient: it cancels
    assert {"gradients/exploding", "updates/too-large", "updates/frozen"} <= set(diag.diagnosis.coverage.ran)
    assert ("loss/spike" in diag.diagnosis.coverage.ran) == ("body and head" in name)


@pytest.mark.parametrize(
    ("rates", "named"),
    [
        ((1000.0, 1000.0), (DISCRIMINATOR, GENERATOR)),
        ((1000.0, 1.0), (DISCRIMINATOR,)),
        ((1.0, 1000.0), (GENERATOR,)),
    ],
)
@pytest.mark.parametrize("turns", [False, True])
def test_a_learning_rate_times_1000(rates: tuple[float, float], named: tuple[str, ...], turns: bool) -> None:
    diag = trained(lambda: Gan(rates=rates, turns=turns), 0, STEPS)
    found = next(f for f in warned(diag) if f.rule == "updates/too-large")
    assert found.evidence["optimizer"] == ", ".join(named)
    assert {place.partition(".")[0] for place in found.where} == {name[8:-1] for name in named}
    assert diag.diagnosis.causes[0].name == "learning-rate-too-high"


def test_a_learning_rate_times_1000_on_one_shared_loss() -> None:
    diag = trained(FAULTY["body and head, one loss, both learning rates times 1,000"], 0, STEPS)
    assert diag.diagnosis.causes[0].name == "learning-rate-too-high"
    assert any(f.rule.startswith("loss/") for f in warned(diag))  # judged as a run with one optimizer is


@pytest.mark.parametrize("turns", [False, True])
def test_nan_in_one(turns: bool) -> None:
    diag = trained(lambda: Gan(nan_at=51, turns=turns), 0, STEPS)
    assert diag.diagnosis.causes[0].name == "non-finite" and diag.diagnosis.causes[0].first_step == 52
    found = next(f for f in warned(diag) if f.rule == "gradients/non-finite")
    assert found.where[0] == GENERATOR and found.first_step == 52
