from __future__ import annotations

import pytest

from lightning_diag._pipeline.schedule import DENSE_S, GRACE_S, Schedule
from lightning_diag.errors import ConfigurationError


def drive(schedule: Schedule, steps: int, *, step_s: float, sample_s: float, plain_s: float = 0.0) -> list[int]:
    sampled = []
    for step in range(1, steps + 1):
        due = schedule.due(step)
        own = sample_s if due else plain_s
        schedule.done(step, sampled=due, own_s=own, step_s=step_s + own)
        if due:
            sampled.append(step)
    return sampled


def test_a_given_interval_is_kept() -> None:
    assert drive(Schedule(10), 45, step_s=1.0, sample_s=0.5) == [1, 11, 21, 31, 41]


@pytest.mark.parametrize("budget", [0.01, 0.05])
@pytest.mark.parametrize("step_s", [0.002, 0.01, 1.0])
def test_auto_is_dense_at_first_and_keeps_the_budget_after(budget: float, step_s: float) -> None:
    schedule = Schedule("auto", budget)
    cost = 0.3 * step_s
    sampled = drive(schedule, 20_000, step_s=step_s, sample_s=cost)
    dense = max(1, int(min(GRACE_S / cost, DENSE_S / (step_s + cost))))
    assert sampled[:dense] == list(range(1, dense + 1))
    assert sampled[dense + 1] > sampled[dense] + 1
    assert schedule.spent_s <= budget * 20_000 * step_s * 1.01 + GRACE_S + cost
    assert schedule.spent_s >= 0.7 * budget * 20_000 * step_s  # it uses what it may, less the headroom


def test_slow_steps_cost_little_from_the_start() -> None:
    schedule = Schedule("auto", 0.01)
    drive(schedule, 20, step_s=0.4, sample_s=0.02)
    assert 0.01 < schedule.overhead_frac < 0.03


def test_a_cheap_sample_is_taken_at_every_step() -> None:
    assert len(drive(Schedule("auto", 0.01), 5_000, step_s=1.0, sample_s=0.001)) == 5_000


def test_what_a_sample_costs_on_the_device_counts_where_it_is_more() -> None:
    schedule = Schedule("auto", 0.01)
    for _ in range(5):
        schedule.device(0.100, sampled=False)
        schedule.device(0.140, sampled=True)
    assert schedule.device_sample_s == pytest.approx(0.04)
    sampled = drive(schedule, 4_000, step_s=0.1, sample_s=0.001)
    assert sampled[-1] - sampled[-2] == 50
    assert schedule.overhead_frac < 0.012  # 40 ms in 0.8 % of 100 ms a step; host time alone would take every 2nd
    hidden = Schedule("auto", 0.01)
    for _ in range(5):
        hidden.device(0.100, sampled=False)
        hidden.device(0.099, sampled=True)
    sampled = drive(hidden, 4_000, step_s=0.1, sample_s=0.004)
    assert sampled[-1] - sampled[-2] == 5


def test_ranks_agree_without_a_clock() -> None:
    slow, fast = Schedule(world_size=2), Schedule(world_size=2)
    assert drive(slow, 300, step_s=1.0, sample_s=0.9) == drive(fast, 300, step_s=1.0, sample_s=1e-6)


def agreeing(steps: int, *, step_s: float, costs: tuple[float, float], budget: float = 0.01) -> list[list[int]]:
    """Two processes, of which the first decides and the second hears of it 10 steps later."""
    pair = [Schedule("auto", budget, world_size=2) for _ in costs]
    sampled: list[list[int]] = [[], []]
    news: tuple[int, int, int] | None = None
    for step in range(1, steps + 1):
        for rank, (schedule, cost) in enumerate(zip(pair, costs, strict=True)):
            due = schedule.due(step)
            schedule.done(step, sampled=due, own_s=cost if due else 0.0, step_s=step_s + (cost if due else 0.0))
            if due:
                sampled[rank].append(step)
                wanted = schedule.wanted() if rank == 0 else None
                if wanted is not None:
                    news = (step, step + max(2 * schedule.interval, 16), wanted)
                if news is not None and step >= news[0] + 10 * rank:
                    schedule.agree(*news[1:])
    return sampled


@pytest.mark.parametrize(("cost", "interval"), [(5e-5, 1), (0.002, 32), (0.02, 256), (9.0, 512)])
def test_ranks_keep_the_budget_at_steps_they_agree_on(cost: float, interval: int) -> None:
    first, second = agreeing(8000, step_s=0.01, costs=(cost, 0.0))
    assert first == second
    assert first[-1] - first[-2] == interval
    assert first[:32] == list(range(1, 33))


def test_ranks_do_not_change_their_mind_over_a_little() -> None:
    schedule = Schedule(world_size=2)
    drive(schedule, 400, step_s=0.01, sample_s=0.0025)
    assert schedule.wanted() is None  # every 32nd is asked for, and taken
    schedule.agree(401, 64)
    assert schedule.wanted() is None
    drive(schedule, 2000, step_s=0.01, sample_s=0.0028)
    assert schedule.wanted() is None


def test_resume_goes_on_where_it_was() -> None:
    one, two = Schedule(7), Schedule(7)
    drive(one, 10, step_s=1.0, sample_s=0.1)
    two.load_state_dict(one.state_dict())
    assert next(s for s in range(11, 30) if two.due(s)) == 15
    assert two.overhead_frac == pytest.approx(one.overhead_frac)


@pytest.mark.parametrize("arguments", [("sometimes", 0.01), (0, 0.01), (1.5, 0.01), ("auto", 0.0), ("auto", 2)])
def test_wrong_arguments(arguments: tuple[object, float]) -> None:
    with pytest.raises(ConfigurationError):
        Schedule(*arguments)  # type: ignore[arg-type]
