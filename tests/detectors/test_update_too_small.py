from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lightning_diag.detectors.update_too_small import UpdateTooSmall
from lightning_diag.errors import ConfigurationError, NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts
from lightning_diag.streaming import LossTrace
from tests.detectors.parameter_stream import Make, Values, assert_resumes, facts, findings, first, run, stream, values


def small(ratio: float = 1e-5, relative: float = 1.0, falling: float = 0.0, lr: float = 1e-6) -> Make:
    """Update ratios around ``ratio``; R falls by ``falling`` a step."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative - falling * step, lr=np.array([lr]))
        made["update/parameter_ratio"] = ratio * rng.lognormal(0, 0.3, 6)
        return made

    return make


def test_gets_nowhere_is_a_warning() -> None:
    found = findings(UpdateTooSmall(), stream(small(falling=1e-5)))
    assert (found[0].severity, found[0].last_step) == (Severity.WARNING, 20)
    assert "limit 5.0e-04" in found[0].message
    assert "at 0.99 by step 1000" in found[0].message
    assert found[0].advice[0].startswith("repeat the first 200 steps with lr=0.0001 (100 times")


@pytest.mark.parametrize(
    ("ratio", "relative", "step"), [(1e-5, 1.0, 12), (4.5e-4, 1.0, 60), (1e-5, 0.97, 60), (6e-4, 1.0, None)]
)
def test_the_smaller_the_steps_the_sooner_it_is_told(ratio: float, relative: float, step: int | None) -> None:
    known = facts(planned_steps=500)
    found = findings(UpdateTooSmall(), stream(small(ratio=ratio, relative=relative, falling=1e-5), known=known))
    assert first(found, Severity.WARNING) == step


def test_fast_enough_for_its_plan_is_info() -> None:
    found = findings(UpdateTooSmall(), stream(small(falling=1e-3)))
    assert found
    assert {f.severity for f in found} == {Severity.INFO}


def test_the_faster_of_both_rates_counts() -> None:
    """A plateau after a fast beginning is no matter of the learning rate."""

    def make(step: int, rng: np.random.Generator) -> Values:
        return small(relative=max(1.0 - 0.005 * step, 0.6))(step, rng)

    assert first(findings(UpdateTooSmall(), stream(make)), Severity.WARNING) is None


def test_noisy_targets_leave_little_to_learn() -> None:
    """R falls to 0.93 within 50 steps and stays: that is no matter of the learning rate either."""

    def make(step: int, rng: np.random.Generator) -> Values:
        return small(relative=max(1.0 - 1.4e-3 * step, 0.93))(step, rng)

    late = findings(UpdateTooSmall(), stream(make, range(1, 901)))
    assert late[-1].last_step == 900
    assert first(late, Severity.WARNING) is None


def decaying(rate: float, relative: float = 0.9) -> Make:
    """The learning rate is multiplied by ``rate`` each step."""

    def make(step: int, rng: np.random.Generator) -> Values:
        return small(2e-3 * rate**step, relative, lr=0.1 * rate**step)(step, rng)

    return make


@pytest.mark.parametrize(("steps", "told"), [((1, 20, 60, 200), True), ((1, 20, 60, 90), False), ((1, 20), False)])
def test_a_schedule_that_is_over_early_between_sparse_samples(steps: tuple[int, ...], told: bool) -> None:
    found = findings(UpdateTooSmall(), stream(decaying(0.9), steps))
    assert [f.first_step for f in found] == [67] * told


def test_a_restart_that_is_met_at_its_lowest_is_none() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return small(2e-3, 0.9, lr=0.1 if step % 100 else 5e-5)(step, rng)

    assert not findings(UpdateTooSmall(), stream(make, (1, 150, 200, 201, 290, 300)))


def test_a_schedule_that_is_over_early_is_a_warning() -> None:
    found = findings(UpdateTooSmall(), stream(decaying(0.9)))
    assert {f.severity for f in found} == {Severity.WARNING}
    assert (found[0].first_step, found[0].last_step) == (67, 117)
    assert "below 0.1 % of its peak of 0.09 since step 67 of 1000, and the loss stands at 0.9 times" in found[0].message
    assert "step or epoch?" in found[0].advice[0]


@pytest.mark.parametrize(("rate", "relative", "epoch"), [(0.9, 0.3, 100), (0.987, 0.9, 1000), (0.9, 0.9, 10)])
def test_a_schedule_that_may_be_over_is_none(rate: float, relative: float, epoch: int) -> None:
    """Most is learned, half of the plan is done, or so many epochs have passed that it may wait for a plateau."""
    known = facts(steps_per_epoch=epoch)
    assert not findings(UpdateTooSmall(), stream(decaying(rate, relative), range(1, 701), known=known))


def test_usual_steps_are_quiet() -> None:
    assert run(UpdateTooSmall(), stream(small(ratio=1e-3)))[-1] is None


def test_a_run_that_has_learned_is_quiet() -> None:
    assert run(UpdateTooSmall(), stream(small(relative=0.1)))[-1] is None


def test_a_fine_tuning_that_starts_below_chance_is_info() -> None:
    found = findings(UpdateTooSmall(), stream(small(relative=0.7, falling=1e-5)))
    assert found and {f.severity for f in found} == {Severity.INFO}


def test_without_a_known_chance_it_is_info() -> None:
    found = findings(UpdateTooSmall(), stream(small(), known=facts(chance_loss=None)))
    assert {f.severity for f in found} == {Severity.INFO}


def test_without_a_plan_it_waits_and_looks_twenty_times_ahead() -> None:
    known = facts(planned_steps=None, steps_per_epoch=None)
    assert first(findings(UpdateTooSmall(), stream(small(), known=known)), Severity.WARNING) == 200
    assert first(findings(UpdateTooSmall(), stream(small(falling=2e-4), known=known)), Severity.WARNING) is None


def test_quiet_in_warm_up_and_decay() -> None:
    def warm(step: int, rng: np.random.Generator) -> Values:
        return small(lr=1e-6 * step)(step, rng)

    def decayed(step: int, rng: np.random.Generator) -> Values:
        return small(lr=1.0 if step < 40 else 0.1)(step, rng)

    for make in (warm, decayed):
        assert run(UpdateTooSmall(), stream(make))[-1] == "the learning rate is warming up or has decayed"


def test_steps_that_shrank_are_no_matter_of_the_learning_rate() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return small(ratio=1e-2 if step < 60 else 1e-5)(step, rng)

    said = run(UpdateTooSmall(), stream(make))
    assert "10 times larger before" in str(said[-1])
    assert not findings(UpdateTooSmall(), stream(make))


def test_sparse_samples() -> None:
    found = findings(UpdateTooSmall(), stream(small(), range(100, 20_000, 100), facts(planned_steps=200_000)))
    assert found[0].last_step == 1200


def test_leaves_out_zeros_and_non_finite_ratios() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = small()(step, rng)
        made["update/parameter_ratio"][:4] = (0.0, np.nan, np.inf, 0.0) if step % 2 else np.nan
        if step < 20:
            made["update/parameter_ratio"][4] = np.nan
        return made

    assert run(UpdateTooSmall(), stream(make))[0] == "no weight matrix moved by a finite amount"
    assert first(findings(UpdateTooSmall(), stream(make)), Severity.WARNING) == 31


def test_without_a_loss_nobody_can_say() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return {k: v for k, v in small()(step, rng).items() if not k.startswith("loss/")}

    assert "the loss is not measured" in str(run(UpdateTooSmall(), stream(make))[-1])


def test_resumes() -> None:
    assert_resumes(UpdateTooSmall, stream(small(falling=1e-4), range(1, 900, 4)))


@pytest.mark.parametrize(
    ("argument", "value"), [("ratio_log10", 1), ("samples", 0), ("target", -1), ("learned", -1), ("nominal", 2)]
)
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        UpdateTooSmall(**{argument: value})  # type: ignore[arg-type]


def ahead(straight: float = 0.9, relative: float = 0.8, grown: float = 1.0, lr: float = 0.1) -> Make:
    """Steps of the usual size on a way whose distance is ``straight`` of its length."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative if step > 12 else 1.0, lr=np.array([lr]))
        weight = 6.4 * (grown if step > 1 else 1.0)
        made["weight/parameter_norm"] = np.full(6, weight)
        made["update/parameter_ratio"] = np.full(6, 1e-2)
        made["weight/distance"] = np.full(6, straight * weight * 1e-2 * (step - 1))
        return made

    return make


CLASSES = facts(planned_steps=300, task="classification", num_classes=10)


def told(make: Make, known: Facts = CLASSES) -> list[tuple[Severity, int]]:
    return [(f.severity, f.last_step) for f in findings(UpdateTooSmall(), stream(make, range(1, 301), known))]


def test_a_straight_way_with_most_of_the_loss_left_is_a_warning_from_0_3_of_the_plan_on() -> None:
    found = findings(UpdateTooSmall(), stream(ahead(), range(1, 301), CLASSES))
    assert (found[0].severity, found[0].last_step) == (Severity.WARNING, 90)
    assert "distance from it is 90 % of the way they went" in found[0].message
    assert found[0].evidence["relative_limit"] == pytest.approx(0.72)
    assert found[0].advice[0].startswith("repeat the first tenth with lr=0.3 (3 times the learning rate)")
    assert told(ahead(relative=0.6))[0] == (Severity.WARNING, 113)  # what may be left falls from 0.72 to 0.4


def test_a_straight_way_is_no_sign_after_a_restart_of_the_schedule() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return ahead(lr=0.02 if 60 < step < 80 else 0.1)(step, rng)

    assert told(make) == []


def test_a_straight_way_that_was_told_holds_until_the_loss_has_fallen() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return ahead(relative=0.8 if step < 250 else 0.3)(step, rng)

    assert told(make)[-1] == (Severity.WARNING, 249)
    late = findings(UpdateTooSmall(), stream(ahead(relative=0.5), range(190, 301), CLASSES))
    assert late == []  # nobody begins to judge that late


@pytest.mark.parametrize(
    "make",
    [
        ahead(straight=0.65),  # it turns
        ahead(relative=0.35),  # it has learned
        ahead(grown=1.6),  # thrown far out, or begun at nothing: no matter of small steps
        lambda step, rng: ahead(lr=1e-3 * step)(step, rng),  # it warms up
        lambda step, rng: {k: v for k, v in ahead()(step, rng).items() if k != "weight/distance"},  # an old record
        lambda step, rng: ahead()(step + 12, rng),  # a fine-tuning
    ],
)
def test_quiet_where_the_way_turns_or_says_nothing(make: Make) -> None:
    assert told(make) == []


def test_a_straight_way_needs_chance_and_a_plan_and_what_may_be_left_depends_on_the_task() -> None:
    assert told(ahead(), dataclasses.replace(CLASSES, planned_steps=None)) == []
    assert told(ahead(), dataclasses.replace(CLASSES, planned_steps=290)) == []  # the first 90 steps may be straight
    assert told(ahead(), dataclasses.replace(CLASSES, chance_loss=None)) == []
    assert told(ahead(), dataclasses.replace(CLASSES, task="regression")) == []
    assert told(ahead(relative=0.97), dataclasses.replace(CLASSES, task="regression"))
    assert told(ahead(relative=0.82), dataclasses.replace(CLASSES, task="language-model"))[0][1] > 90


@pytest.mark.parametrize(
    ("straight", "relative", "planned", "step"),
    [
        (0.75, 0.3, 500, 200),  # from 0.4 of the plan on
        (0.65, 0.3, 500, None),  # it turns
        (0.75, 0.19, 500, None),  # it has learned
        (0.75, 0.3, 490, None),  # ways of few steps are straighter
    ],
)
def test_a_straight_way_in_a_regression(straight: float, relative: float, planned: int, step: int | None) -> None:
    known = dataclasses.replace(CLASSES, task="regression", planned_steps=planned)
    found = findings(UpdateTooSmall(), stream(ahead(straight, relative), range(1, 501), known))
    assert (found[0].last_step if found else None) == step


def test_a_straight_way_resumes() -> None:
    assert_resumes(UpdateTooSmall, stream(ahead(), range(1, 301, 3), CLASSES))


def falling(share: float = 0.9, relative: float = 0.97, pace: float = 1e-4) -> Make:
    """The loss falls by ``pace`` of chance a step; the gradients foretell ``share`` of that."""

    def make(step: int, rng: np.random.Generator) -> Values:
        r = relative - pace * step if step > 12 else 1.0
        made = values(rng, r, lr=np.array([0.1]))
        made["loss/train"] = np.float64(2.3 * r)
        made["update/parameter_ratio"] = np.full(6, 1e-2)
        if step > 1 and step % 4 == 0:
            made["grad/along"] = np.float64(-4 * share * 2.3 * pace * (1 + 0.1 * rng.normal()))
        return made

    return make


def judged(make: Make, known: Facts = CLASSES, steps: int = 300) -> list[Finding]:
    curve, detector, out = LossTrace(), UpdateTooSmall(), []
    for reading in stream(make, range(1, steps + 1), known):
        curve.push(float(reading.values["loss/train"]))
        try:
            found = detector.update(dataclasses.replace(reading, curve=curve))
        except NotMeasurable:
            continue
        if found is not None:
            out.append(found)
    return out


def test_a_loss_that_falls_along_a_line_is_a_warning_from_0_15_of_the_plan_on() -> None:
    found = judged(falling())
    assert (found[0].severity, found[0].last_step) == (Severity.WARNING, 60)  # patience; 0.15 of 300 is 45
    assert (
        judged(falling(), facts(planned_steps=600, task="classification", num_classes=10))[0].last_step == 96
    )  # 0.15 is 90
    assert "gradients foretold 91 % of its fall along the way just gone (surely 82 %, limit 40 %" in found[0].message
    assert found[0].evidence["limit"] == 0.4 and found[0].evidence["foretold"] == pytest.approx(0.9, abs=0.03)
    assert found[0].advice[0].startswith("repeat the first tenth with lr=0.6 (6 times the learning rate)")


@pytest.mark.parametrize(
    "make",
    [
        falling(share=0.3),  # steps are nearly large enough
        falling(share=-3.0),  # noise moves the weights
        falling(relative=0.6, pace=1e-3),  # it has learned
        lambda step, rng: falling()(step, rng) | ({"loss/relative": np.float64(4.0)} if step < 15 else {}),  # bad start
        lambda step, rng: {k: v for k, v in falling()(step, rng).items() if k != "grad/along"},  # an old record
        lambda step, rng: falling(relative=0.85)(step + 12, rng),  # a fine-tuning
    ],
)
def test_quiet_where_the_loss_does_not_fall_along_a_line(make: Make) -> None:
    assert judged(make) == []


def test_what_may_be_left_along_a_line_depends_on_the_task_and_falls() -> None:
    def since(relative: float, task: str) -> int | None:
        found = judged(falling(relative=relative), dataclasses.replace(CLASSES, task=task))
        return found[0].last_step if found else None

    assert since(0.8, "classification") == 97  # 0.97 falls to 0.82 at step 90, to 0.55 at 150
    assert since(0.6, "classification") == 143
    assert since(0.6, "regression") == 85
    assert since(0.8, "language-model") == 147
    assert since(0.4, "regression") is None
