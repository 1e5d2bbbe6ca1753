"""loss/too-slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors import LossTooSlow
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

CLASSES = Facts(planned_steps=1000, chance_loss=2.3, task="classification", num_classes=10)


def run(
    curve: Callable[[float], float],
    facts: Facts = CLASSES,
    *,
    start: int = 1,
    rate: Callable[[float], float] = lambda p: 1.0,
    val: bool = True,
    detector: LossTooSlow | None = None,
    accuracy: float | None = None,
) -> list[Finding]:
    found, rule = [], detector or LossTooSlow()
    for step in range(start, 1001):
        p = step / 1000
        readings = [Reading(step, 0, {"loss/relative": np.float64(curve(p)), "lr": np.array([rate(p)])}, facts)]
        if val and step % 80 == 0:
            loss = np.float64(curve(p) * (facts.chance_loss or 1.0))
            right = {} if accuracy is None else {"accuracy/val": np.float64(accuracy)}
            readings.append(Reading(step, 0, {"loss/val": loss, **right}, facts, stage="validation"))
        for reading in readings:
            try:
                said = rule.update(reading)
            except NotMeasurable:
                continue
            if said is not None:
                found.append(said)
    return found


@pytest.mark.parametrize("val", [True, False])
def test_a_straight_fall_is_told_once_at_half_of_the_plan(val: bool) -> None:
    (finding,) = run(lambda p: 1 - 0.7 * p, val=val)
    assert finding.step == (560 if val else 500)
    assert 0.6 <= finding.evidence["value"] <= 0.66  # type: ignore[operator]


@pytest.mark.parametrize(
    "curve",
    [
        lambda p: np.exp(-8 * p),  # done
        lambda p: 0.5 + 0.5 * np.exp(-10 * p),  # high, and flat: underfitting's
        lambda p: 1.0,  # nothing is learned: loss/not-learning's
        lambda p: 1.0 if p < 0.3 else 0.1,  # a long plateau before a jump
        lambda p: 0.2 - 0.1 * p,  # fine-tuning
        lambda p: float("nan"),
        lambda p: 1.0 + p,
    ],
)  # fmt: skip
def test_other_curves_are_left_in_peace(curve: Callable[[float], float]) -> None:
    assert run(curve) == []


def test_what_cannot_be_learned_is_no_slowness() -> None:
    def slow(p: float) -> float:
        return 1 - 0.5 * p

    language = Facts(planned_steps=1000, chance_loss=3.3, task="language-model")
    assert run(slow, language) == []
    assert len(run(lambda p: 1 - 0.15 * p, language)) == 1
    regression = Facts(planned_steps=1000, chance_loss=1.0, task="regression")
    assert run(slow, regression) == []
    assert len(run(lambda p: 1 - 0.3 * p, regression)) == 1


def test_schedules_and_missing_facts_are_not_judged() -> None:
    def slow(p: float) -> float:
        return 1 - 0.7 * p

    assert run(slow, rate=lambda p: min(1.0, p / 0.3)) == [], "a long warm-up"
    assert run(slow, rate=lambda p: 1.0 if p < 0.4 else 0.01) == [], "decayed"
    assert run(slow, start=400) == [], "watched late"
    assert run(slow, Facts(planned_steps=1000)) == [], "chance not known"
    assert run(slow, Facts(chance_loss=2.3)) == [], "no plan"
    assert run(slow, replace(CLASSES, planned_steps=199)) == [], "a short trial"


def test_a_short_plan_may_have_more_left() -> None:
    def left(now: float, planned: int) -> int:
        return len(run(lambda p: 1 - (1 - now) * min(p * 2000 / planned, 1.5), replace(CLASSES, planned_steps=planned)))

    assert left(0.55, 300) == left(0.65, 299) == left(0.65, 200) == 1
    assert left(0.55, 299) == left(0.55, 200) == 0


def test_a_short_run_that_got_going_late_is_left_in_peace() -> None:
    def late(planned: int) -> int:
        short = replace(CLASSES, planned_steps=planned)
        return len(run(lambda p: 1 - max(0.0, 1.4 * (p * 1000 / planned - 0.24)), short, val=False))

    assert (late(299), late(300)) == (0, 1)


def test_a_resumed_run_is_judged_as_one() -> None:
    first, second = LossTooSlow(), LossTooSlow()
    for step in range(1, 400):
        with pytest.raises(NotMeasurable):
            first.update(Reading(step, 0, {"loss/relative": np.float64(1 - 0.0007 * step)}, CLASSES))
    second.load_state_dict(first.state_dict())
    assert len(run(lambda p: 1 - 0.7 * p, start=400, val=False, detector=second)) == 1


@pytest.mark.parametrize("name", ["limit", "language", "numbers", "pace", "min_steps"])
def test_arguments_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        LossTooSlow(**{name: -1})


def test_squared_errors_of_a_classifier_that_is_mostly_right_are_no_sign() -> None:
    squares = replace(CLASSES, loss_kind="mse (one-hot)")
    assert not run(lambda p: 1 - 0.7 * p, squares, accuracy=0.7)
    assert run(lambda p: 1 - 0.7 * p, squares, accuracy=0.5)
    assert run(lambda p: 1 - 0.7 * p, replace(CLASSES, loss_kind="cross-entropy"), accuracy=0.7)


def noisy(samples: int, facts: Facts = CLASSES, *, scatter: float = 0.3, left: float = 0.6) -> list[Finding]:
    """A loss that falls to a share of chance in the first fifth of the plan and scatters about it since."""
    judge, rng, found = Judge([LossTooSlow()]), np.random.default_rng(0), []
    facts = replace(facts, batch_size=samples)
    for step in range(1, 1001):
        r = max(1 - step / 200, left) + scatter * rng.standard_normal()
        for reading in (
            Reading(step, 0, {"loss/train": np.float64(2.3 * r), "lr": np.array([0.1])}, facts),
            *([Reading(step, 0, {"loss/val": np.float64(2.3 * left)}, facts, stage="validation")] * (step % 80 == 0)),
        ):
            found += judge.update(judge.enrich(reading))
    return found


def test_the_noise_of_tiny_batches_holds_the_loss_up() -> None:
    (finding,) = noisy(2)
    assert (finding.step, finding.severity) == (560, Severity.WARNING)
    assert finding.evidence["scatter"] == pytest.approx(0.3, abs=0.05)
    assert "with 2 samples a step it scatters by 3" in finding.message
    assert finding.advice[1].startswith("if memory or time don't allow that, take lr=0.013")
    assert "1 sample a step" in noisy(1)[0].message


@pytest.mark.parametrize(
    ("samples", "facts", "scatter", "left"),
    [
        (8, CLASSES, 0.3, 0.6),  # not so few
        (2, replace(CLASSES, accumulate=4), 0.3, 0.6),
        (2, replace(CLASSES, world_size=4), 0.3, 0.6),
        (2, CLASSES, 0.05, 0.6),  # a sample holds many targets
        (2, CLASSES, 0.3, 0.48),  # it has learned
        (2, replace(CLASSES, task="language-model", num_classes=None), 0.3, 0.6),
        (2, replace(CLASSES, task="regression", num_classes=None), 0.3, 0.6),
        (2, replace(CLASSES, num_classes=2), 0.3, 0.6),
    ],
)
def test_a_flat_loss_of_other_batches_is_left_in_peace(samples: int, facts: Facts, scatter: float, left: float) -> None:
    assert noisy(samples, facts, scatter=scatter, left=left) == []
