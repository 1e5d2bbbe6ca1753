from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lightning_diag.detectors.setup_odd_initialization import SetupOddInitialization
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Severity
from lightning_diag.probes.base import Scene
from lightning_diag.probes.gradient import GradientProbe
from lightning_diag.probes.start import kurtosis
from lightning_diag.reading import Facts, Reading


def first(net: nn.Module, step: int = 1) -> Reading:
    probe = GradientProbe()
    probe.attach(Scene(net, [torch.optim.SGD(net.parameters(), 0.1)], Facts()))
    norms = np.array([float(p.detach().norm()) for p in net.parameters()])
    values = {
        "weight/parameter_norm": norms,
        "weight/kurtosis": np.array([float(kurtosis(p)) for p in net.parameters()]),
    }
    return Reading(step, 0, values, Facts().merged(dict(probe.facts())))


@pytest.mark.parametrize("make", [lambda: nn.Linear(64, 64), lambda: nn.Conv2d(8, 16, 3), lambda: nn.LSTM(32, 32)])
def test_the_libraries_own_initializations_are_usual(make: object) -> None:
    torch.manual_seed(0)
    assert SetupOddInitialization().update(first(make())) is None  # type: ignore[operator]


@pytest.mark.parametrize("factor", [30.0, 0.01])
def test_far_larger_or_smaller_ones_are_noted(factor: float) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(factor)
    found = SetupOddInitialization().update(first(net))
    assert found is not None
    assert str(found.severity) == "info"
    assert found.where[0].endswith("weight")


def test_only_the_first_step_counts() -> None:
    with pytest.raises(NotMeasurable, match="from step 5"):
        SetupOddInitialization().update(first(nn.Linear(8, 8), step=5))
    with pytest.raises(NotMeasurable):
        SetupOddInitialization().update(Reading(1, 0, {}))


def judged(losses: list[float], factor: float = 0.01, chance: float | None = 2.3, **more: object) -> list[Severity]:
    """Severities said of a network with scaled weights whose R goes as given, a plan of 1,000 steps."""
    torch.manual_seed(0)
    net, detector = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), SetupOddInitialization()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(factor)
    start = first(net)
    facts = start.facts.merged({"planned_steps": 1000, "chance_loss": chance, **more})
    said = [detector.update(Reading(1, 0, dict(start.values), facts))]
    for step, relative in enumerate(losses, start=2):
        values = {"loss/relative": np.float64(relative), "lr": np.array([0.1])}
        said.append(detector.update(Reading(step, 0, values, facts)))
    return list(dict.fromkeys(f.severity for f in said if f is not None))


def test_a_run_that_does_not_leave_chance_makes_it_a_warning() -> None:
    assert judged([1.0] * 200) == [Severity.INFO, Severity.WARNING]
    assert judged([1.0] * 18) == judged([0.97] * 50) == [Severity.INFO]  # too early
    assert judged(np.linspace(1.0, 0.2, 200).tolist()) == [Severity.INFO]  # it learns in spite of it
    assert judged([1.0] * 200, factor=0.3) == [Severity.WARNING]  # smaller than most: nothing is said before
    assert judged([1.0] * 140, factor=0.3) == [] == judged(np.linspace(1.0, 0.2, 200).tolist(), factor=0.3)
    assert judged([1.0] * 200, factor=1.0) == []  # not odd: other rules' business
    assert judged([1.0] * 200, chance=None) == [Severity.INFO]  # a fine-tuning that stays where it was


def test_a_loss_far_above_chance_is_told_at_once_and_one_little_above_it_has_some_time() -> None:
    def said(losses: list[float]) -> list[Severity]:
        return judged(losses, factor=30.0, planned_steps=500)

    note, warned = [Severity.INFO], [Severity.INFO, Severity.WARNING]
    assert said([9.0] * 10) == note and said([9.0] * 11) == warned
    assert said([1.7] * 28) == note and said([1.7] * 29) == warned
    assert said([*[1.7] * 10, *[1.3] * 10, *[0.98] * 20, *[0.6] * 99]) == note


def start(*constants: float | None) -> str | None:
    """What is said of a network whose weight matrices have these constant weights (None: drawn as usual)."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(32, 32) for _ in constants))
    with torch.no_grad():
        for layer, constant in zip(net, constants, strict=True):
            if constant is not None:
                layer.weight.fill_(constant)  # type: ignore[operator]
    found = SetupOddInitialization().update(first(net))
    return None if found is None else f"{found.severity}: {', '.join(found.where)}: {found.message}"


def test_equal_weights_are_a_warning_at_once() -> None:
    assert (start(0.1, 0.1) or "").startswith(
        "warning: 0.weight, 1.weight: In 2 of 2 weight matrices all weights are eq"
    )
    assert (start(0.1, None) or "").startswith("warning: 0.weight: In 1 of 2")
    assert "all weights are 0 at the start" in (start(0.0, 0.0) or "")
    assert start(None, 0.1, None) is None  # one of three
    assert "warning" not in (start(None, 0.0) or "")  # a last layer, or a residual branch, that starts at nothing
    assert "warning" not in (start(0.1) or "")  # a linear model needs no broken symmetry


def test_equal_weights_of_one_unit_or_input_are_no_fault() -> None:
    net = nn.Sequential(nn.Linear(1, 32), nn.Linear(32, 1))
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.5)
    found = SetupOddInitialization().update(first(net))
    assert found is None or found.severity == Severity.INFO


def test_small_weights_that_cost_a_good_part_of_the_plan_make_it_a_warning() -> None:
    def left(relative: float, task: str = "regression", steps: int = 270, **more: object) -> list[Severity]:
        classes = {"num_classes": 10} if task == "classification" else {}
        return judged([max(1 - k / 50, relative) for k in range(steps)], task=task, **{**classes, **more})  # type: ignore[arg-type]

    both = [Severity.INFO, Severity.WARNING]
    assert left(0.31) == both == left(0.76, "classification")
    assert left(0.29) == [Severity.INFO] == left(0.74, "classification")  # it has learned
    assert left(0.31, steps=260) == [Severity.INFO]  # too early
    assert left(0.9, "language-model") == [Severity.INFO]  # most of it can't be learned
    assert left(0.4, factor=30.0) == [Severity.INFO]  # weights that are too large
    assert left(0.31, planned_steps=290) == [Severity.INFO]  # hardly any steps
    assert left(0.31, chance=None) == [Severity.INFO]
    assert left(0.31, factor=0.1) == [Severity.INFO]  # not so small


def grown(
    times: float = 6.0, bends: float = 0.5, start: float = 0.95, factor: float = 0.1, **more: object
) -> list[tuple[int, str]]:
    """Steps and severities of a network whose small weights grow over 150 steps, R at ``start`` until step 60."""
    torch.manual_seed(0)
    net, detector = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), SetupOddInitialization()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(factor)
    begin = first(net)
    facts = begin.facts.merged({"planned_steps": 1000, "chance_loss": 2.3, "task": "language-model", **more})
    norms, said = begin.values["weight/parameter_norm"], list[tuple[int, str]]()
    for step in range(1, 401):
        size = 1 + (times - 1) * min(step - 1, 150) / 150
        pace = (times - 1) / 150 / bends * (step <= 150)  # of the way, which is longer than the distance
        values = {
            **(begin.values if step == 1 else {}), "weight/parameter_norm": norms * size, "lr": np.array([0.1]),
            "weight/distance": norms * (size - 1), "update/parameter_ratio": np.full(len(norms), pace / size),
            "loss/relative": np.float64(start if step < 60 else 0.7 * start),
        }  # fmt: skip
        found = detector.update(Reading(step, 0, values, facts))
        if found is not None and str(found.severity) not in [name for _, name in said]:
            said.append((step, str(found.severity)))
    return said


def test_small_weights_that_had_to_grow_first_are_a_warning() -> None:
    assert grown() == [(1, "info"), (107, "warning")]  # 4.5 times
    noted = [(1, "info")]
    assert grown(times=4.4) == noted
    assert grown(bends=0.9) == noted  # straight ahead: still growing
    assert grown(start=0.8) == noted  # it left chance at once
    assert grown(start=0.3, task="regression") != noted
    assert grown(planned_steps=290) == grown(planned_steps=300_000) == noted
    assert grown(planned_steps=340) == noted  # past 0.3 of the plan
    assert grown(chance_loss=None) == noted
    assert grown(factor=0.3) == []
