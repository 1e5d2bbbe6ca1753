"""The fault zoo end to end on a handful of runs, and the tables it stands on."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

import torch

from benchmarks.zoo.data.previous import FASHION
from benchmarks.zoo.grid import CONTROLS, FAULTS, LIKE, SEEDS, SMOKE, Config, configs, groups
from benchmarks.zoo.harm import UNLABELLED, judge
from benchmarks.zoo.intervals import wilson
from benchmarks.zoo.modules import BINARY, LOSSES, Supervised, decided, right
from benchmarks.zoo.operators import OPERATORS, apply
from benchmarks.zoo.outcome import Outcome, outcome
from benchmarks.zoo.plan import SHARES, Plan
from benchmarks.zoo.replay import replay
from benchmarks.zoo.tasks import TASKS
from benchmarks.zoo.train import prepare, run
from benchmarks.zoo.truth import PLANNED_CAUSES, RULES, TRUTH
from lightning_diag.diagnosis import CAUSES

HERE = sorted(
    set(TASKS) - (set() if FASHION.is_dir() else {"senet", "dense", "wares"})
)  # the tasks whose data this machine holds


def test_every_operator_is_run_and_every_fault_has_a_truth() -> None:
    assert set(FAULTS) | set(CONTROLS) == set(OPERATORS)
    assert set(TRUTH) == set(FAULTS)
    assert not set(FAULTS) & set(CONTROLS)


def test_truth_names_rules_and_causes_that_exist() -> None:
    causes = {pattern.name for pattern in CAUSES} | PLANNED_CAUSES
    for operator, truth in TRUTH.items():
        assert set(truth.must) | set(truth.must_not) <= RULES, operator
        assert set(truth.cause) <= causes, operator
        assert not set(truth.must) & set(truth.must_not), operator
        assert 0 < truth.deadline <= 1, operator


def test_the_sets_share_no_run_and_are_mostly_clean() -> None:
    for one, other in combinations(SEEDS, 2):
        assert not set(SEEDS[one]) & set(SEEDS[other])
        shared = set(groups(one)) & set(groups(other))
        assert {operator for _, operator, _ in shared} <= {"healthy"}
    tuned = {task for which in ("dev", "seen", "former", "previous", "last") for task, *_ in groups(which)}
    assert not tuned & {task for task, *_ in groups("report")}
    assert len(set(configs("dev"))) == len(configs("dev"))


@pytest.mark.parametrize("task", HERE)
def test_twins_start_from_the_same_weights_and_data(task: str) -> None:
    _, data, module = prepare(Config(task, "healthy", 0.0, 3))
    _, other, twin = prepare(Config(task, "lr-up" if TASKS[task][0]().kind != "gan" else "g-lr-up", 10.0, 3))
    assert data.train_x.equal(other.train_x)
    assert all(a.equal(b) for a, b in zip(module.parameters(), twin.parameters(), strict=True))
    _, unlike, stranger = prepare(Config(task, "healthy", 0.0, 4))
    assert not data.train_x.equal(unlike.train_x)
    assert not all(a.equal(b) for a, b in zip(module.parameters(), stranger.parameters(), strict=True))


@pytest.mark.parametrize("which", sorted(SEEDS))
def test_every_operator_can_be_prepared_in_all_its_tasks(which: str) -> None:
    first = {(task, operator): severity for task, operator, severity in reversed(groups(which)) if task in HERE}
    assert len(first) > 100
    for (task, operator), severity in first.items():
        prepare(Config(task, operator, severity, SEEDS[which][0]))


@pytest.mark.parametrize("task", [task for task in LIKE["report"] if task in HERE])
def test_every_task_of_the_report_set_trains(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, data = TASKS[task]
    monkeypatch.setitem(TASKS, task, (lambda: replace(make(), steps=12), data))
    result = run(Config(task, "healthy", 0.0, 3), tmp_path, watch=False)
    assert result["error"] is None and result["steps"] == 12
    assert 0 <= result["metric"] <= 1 if result["kind"] in SHARES else -10 < result["metric"] < 0
    x, y = data(torch.Generator().manual_seed(1)).train_x, data(torch.Generator().manual_seed(1)).train_y
    assert len(x) == len(y) and bool(torch.isfinite(x.float()).all()) and len(y.unique()) > 1


def test_the_report_set_is_large_enough_to_show_a_rare_false_alarm() -> None:
    made = configs("report")
    assert 1100 <= len(made) <= 1200
    assert sum(c.watched and c.operator in CONTROLS for c in made) >= 300
    assert {c.operator for c in made} > set(FAULTS) - {"sigmoid-depth"}


def test_the_score_of_labels_and_of_pixels() -> None:
    many, pixels = Plan("crowd", "multi-label", 1, 1.0), Plan("vowels", "segmentation", 1, 1.0)
    z, y = torch.tensor([[1.0, -1.0], [2.0, 3.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert float(right(many, z, y)) == pytest.approx(2 / 3)  # 2 hits, 1 too many, 1 missed
    said, true = torch.tensor([[[0, 0], [1, 1]]]), torch.tensor([[[0, 1], [1, 1]]])
    out = torch.nn.functional.one_hot(said, 3).movedim(-1, 1).float()
    assert float(right(pixels, out, true)) == pytest.approx((1 / 2 + 2 / 3) / 2)  # nobody speaks of class 2


def test_class_weights_reach_the_loss() -> None:
    plan, net = Plan("street", "classification", 1, 1.0, arch={"outputs": 2}), torch.nn.Identity()
    z, y = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1])
    found = [Supervised(replace(plan, class_weights=w), net) for w in ((), (3.0, 1.0))]
    even, weighted = (m.loss(m(z), y) for m in found)
    assert float(weighted) == pytest.approx(float(even) + 0.25)  # (3 l + 1 (l - 1)) / 4, with l the loss of the first


@pytest.mark.parametrize("operator", ["lr-spike", "lr-burst"])
def test_a_jump_of_the_rate_keeps_the_schedule(operator: str) -> None:
    plan = apply(operator, Plan("wares", "classification", 100, 1.0, schedule=lambda step, steps: 0.5), 30.0)
    assert plan.schedule is not None
    assert [plan.schedule(step, 100) for step in (49, 50)] == [0.5, 15.0]


def test_harm_needs_size_and_certainty() -> None:
    def label(*changes: float, control: bool = False) -> str:
        return judge(list(changes), accuracy=True, healthy_sd=0.002, control=control).label

    assert label(-0.2, -0.22, -0.19) == "harmful"
    assert label(-0.2, 0.15, -0.1) == "grey"
    assert label(-0.004, -0.005, -0.004) == "benign"
    assert label(-0.2) == "unknown"
    assert label(-0.2, control=True) == "grey"


@pytest.mark.parametrize("loss", ["cross-entropy", "label-smoothing", "sum", "negative"])
def test_one_logit_is_worth_two(loss: str) -> None:
    z, y = torch.tensor([[-2.0], [0.5], [3.0]]), torch.tensor([0, 1, 0])
    two = torch.cat((torch.zeros_like(z), z), 1)
    torch.testing.assert_close(BINARY[loss](z, y), LOSSES[loss](two, y))
    plan = Plan("pairs", "classification", 1, 1.0, loss=loss)
    assert decided(plan, z).equal(decided(plan, two)) and decided(plan, z).tolist() == [0, 1, 1]


@pytest.mark.parametrize(("which", "tasks"), [("previous", ("mixer", "senet")), ("last", ("points", "dense"))])
def test_two_tasks_share_the_severities_of_a_fault(which: str, tasks: tuple[str, str]) -> None:
    rungs = [sorted(s for task, op, s in groups(which) if task == one and op == "lr-up") for one in tasks]
    assert rungs == [[3, 30], [10, 100]]


def test_wilson_interval() -> None:
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every smoke run, watched, replayed and held against its truth."""
    found = {}
    for config in SMOKE:
        folder: Path = tmp_path_factory.mktemp(config.name)
        result = run(config, folder)
        assert result["error"] is None
        found[config.name] = outcome(config, result, UNLABELLED, replay(folder / result["record"]))
    return found


def test_smoke_harmful_runs_are_caught(smoke: dict[str, Outcome]) -> None:
    missed = [name for name, o in smoke.items() if o.config.operator != "healthy" and not o.on_time]
    assert missed == []


def test_smoke_healthy_runs_are_left_in_peace(smoke: dict[str, Outcome]) -> None:
    said = {name: o.verdict.alarms for name, o in smoke.items() if o.config.operator == "healthy"}
    assert len(said) == 2
    assert set(said.values()) == {()}


def test_smoke_names_cause_and_place(smoke: dict[str, Outcome]) -> None:
    assert smoke["mlp__nan-input__1__s0"].verdict.cause == "non-finite"
    assert smoke["mlp__nan-input__1__s0"].hit.step == smoke["mlp__nan-input__1__s0"].onset + 1  # type: ignore[union-attr]
    assert smoke["ae__not-in-optimizer__0__s0"].place is True
