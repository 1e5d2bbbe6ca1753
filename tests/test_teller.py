"""Losses may wait to be judged together; what comes out is what one by one would give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_diag import MemorySink
from lightning_diag._guard import Guard
from lightning_diag._judge import teller as tellers
from lightning_diag._judge.judge import Judge
from lightning_diag._judge.teller import BLOCK, COVERAGE_S, Teller
from lightning_diag._plugins import shipped
from lightning_diag.diagnosis import Coverage
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks.base import Sink

FACTS = Facts(planned_steps=400, chance_loss=2.3)


def losses(n: int) -> list[float]:
    rng = np.random.default_rng(0)
    made = np.float32(2.3 * np.exp(-np.arange(n) / 150 + rng.normal(0, 0.03, n)))
    made[n // 2 :] *= 40
    return [float(x) for x in made]


class Log(Sink):
    """Notes in which order things come."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def reading(self, reading: Reading) -> None:
        self.seen.append(("reading", reading.step))

    def finding(self, finding: Finding) -> None:
        self.seen.append((finding.rule, self.seen[-1][1]))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tellers, "WAIT_S", math.inf)


def teller(*sinks: Sink, told: list[Finding] | None = None) -> Teller:
    judge = Judge([cls() for cls in shipped()])
    return Teller(judge, sinks, Guard(strict=True), None if told is None else told.append)


@pytest.mark.usefixtures("patient")
def test_a_block_gives_what_one_by_one_gives() -> None:
    log, single_log = Log(), Log()
    told: list[Finding] = []
    single_told: list[Finding] = []
    blocks, single = teller(log, told=told), teller(single_log, told=single_told)
    for step, loss in enumerate(losses(400), start=1):
        blocks.loss(step, 0, step, loss, FACTS)
        single.take(Reading(step, 0, {"loss/train": loss}, FACTS, step))
    blocks.settle()
    assert told and told == single_told
    assert log.seen == single_log.seen
    assert blocks.judge.state_dict() == single.judge.state_dict()


@pytest.mark.usefixtures("patient")
def test_what_waits_is_judged_when_the_block_is_full_or_something_else_comes() -> None:
    memory = MemorySink()
    made = teller(memory)
    for step in range(1, BLOCK):
        made.loss(step, 0, step, 2.0, FACTS)
    assert not memory.readings
    made.loss(BLOCK, 0, BLOCK, 2.0, FACTS)
    assert len(memory.readings) == BLOCK
    made.loss(BLOCK + 1, 0, 1, 2.0, FACTS)
    made.take(Reading(BLOCK + 2, 0, {"loss/train": 2.0}, FACTS))
    assert [r.step for r in memory.readings][-2:] == [BLOCK + 1, BLOCK + 2]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_waits_for_nothing(bad: float) -> None:
    told: list[Finding] = []
    made = teller(told=told)
    made.loss(1, 0, 0, 2.0, FACTS)
    made.loss(2, 0, 1, bad, FACTS)
    assert [f.rule for f in told] == ["loss/non-finite"]


def test_slow_steps_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tellers, "WAIT_S", 0.0)
    memory = MemorySink()
    teller(memory).loss(1, 0, 0, 2.0, FACTS)
    assert [r.step for r in memory.readings] == [1]


@pytest.mark.usefixtures("patient")
def test_time_for_what_waited_is_told_once() -> None:
    made = teller()
    for step in range(1, 4):
        made.loss(step, 0, 0, 2.0, FACTS)
    assert made.late() == (0.0, 0)
    made.settle()
    seconds, steps = made.late()
    assert seconds > 0 and steps == 3
    assert made.late() == (0.0, 0)


@pytest.mark.usefixtures("patient")
def test_whoever_is_told_may_ask_for_the_findings() -> None:
    seen: list[int] = []
    made = teller()

    def ask(finding: Finding) -> None:
        made.settle()
        seen.append(len(made.judge.findings))

    made.on_finding = ask
    made.loss(1, 0, 0, math.nan, FACTS)
    made.loss(2, 0, 1, math.nan, FACTS)
    assert seen and seen[0] == 1


def test_which_checks_have_run_is_told_at_first_and_when_it_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Coverages(Log):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[tuple[int, Coverage]] = []

        def coverage(self, coverage: Coverage) -> None:
            self.told.append((self.seen[-1][1], coverage))

    now = [0.0]
    monkeypatch.setattr(tellers, "perf_counter", lambda: now[0])
    log = Coverages()
    made = teller(log)
    for step in range(1, 9):
        made.take(Reading(step, 0, {"loss/train": 2.0} | ({"grad/norm": 1.0} if step in (4, 8) else {}), FACTS))
        now[0] += COVERAGE_S / 4
    # nothing ran first at step 2 or 3; what ran first at step 4 is told when the second is over; step 8 brought no news
    assert [step for step, _ in log.told] == [1, 5]
    ran = [set(coverage.ran) for _, coverage in log.told]
    assert "loss/non-finite" in ran[0] and ran[0] < ran[1] and "gradients/non-finite" in ran[1]
    assert "no reading of" in log.told[0][1].skipped["gradients/non-finite"]


def test_a_sink_that_raises_is_left_out_and_the_others_go_on() -> None:
    class Broken(Log):
        def reading(self, reading: Reading) -> None:
            raise OSError("disk full")

    guard, log = Guard(), Log()
    made = Teller(Judge([]), [Broken(), log], guard)
    for step in (1, 2):
        made.take(Reading(step, 0, {"loss/train": 1.0}))
    assert made.sinks == [log] and log.seen == [("reading", 1), ("reading", 2)]
    assert guard.failed == {"Broken": "OSError: disk full"}
