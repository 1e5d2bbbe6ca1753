from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from lightning_diag._ranks import exchange
from lightning_diag._ranks.exchange import LAG, Exchange
from lightning_diag._ranks.merge import Landed


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.dead = False

    def _alive(self) -> None:
        if self.dead:
            raise ConnectionError("the store is gone")

    def set(self, key: str, value: Any, /) -> None:
        self._alive()
        self.data[key] = value

    def get(self, key: str, /) -> Any:
        self._alive()
        return self.data[key]

    def check(self, keys: list[str], /) -> bool:
        self._alive()
        return all(key in self.data for key in keys)

    def delete_key(self, key: str, /) -> bool:
        return self.data.pop(key, None) is not None


class Team:
    """Some ranks around one store."""

    def __init__(self, size: int = 2) -> None:
        self.store = Shelf()
        self.told: list[str] = []
        self.ranks = [Exchange(self.store, r, range(size), self._tell) for r in range(size)]

    def _tell(self, part: str, error: BaseException) -> None:
        self.told.append(f"{part}: {error}")

    def send(self, rank: int, step: int, loss: float, stage: str = "train", **more: float) -> None:
        values = {"loss/train" if stage == "train" else "loss/val": np.asarray(loss)}
        values |= {name: np.asarray(value) for name, value in more.items()}
        self.ranks[rank].send([Landed(step, 0, 0, stage, values)])

    def hears(self, rank: int) -> list[tuple[int, str, float]]:
        self.ranks[rank]._looked = 0.0
        return seen(self.ranks[rank].received())


def seen(parts: Any) -> list[tuple[int, str, float]]:
    return [(p.step, p.stage, float(p.values.get("loss/train", p.values.get("loss/val", np.nan)))) for p in parts]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "QUIET_S", 0.05)
    monkeypatch.setattr(exchange, "FAILED_S", 0.05)


def test_a_step_is_merged_once_all_have_sent_it_and_all_hear_the_same() -> None:
    team = Team()
    team.send(0, 1, 1.0)
    assert team.hears(0) == [] and team.hears(1) == []
    team.send(1, 1, 3.0)
    assert team.hears(1) == []  # rank 0 merges
    assert team.hears(0) == [(1, "train", 2.0)]
    assert team.hears(1) == [(1, "train", 2.0)]
    assert team.hears(0) == team.hears(1) == []


def test_steps_that_only_one_rank_has_pass_in_their_order() -> None:
    team = Team()
    for step in (1, 2, 3):
        team.send(0, step, float(step))
    team.send(1, 1, 1.0)
    team.send(1, 3, 5.0)  # rank 1 had no loss in step 2
    assert team.hears(0) == [(1, "train", 1.0), (2, "train", 2.0), (3, "train", 4.0)]


def test_a_validation_pass_between_steps_keeps_its_place() -> None:
    team = Team()
    team.send(0, 1, 1.0)
    team.send(0, 1, 9.0, "validation")
    team.send(0, 2, 1.0)
    team.send(1, 1, 3.0)
    team.send(1, 2, 3.0)  # rank 1 validates later
    team.send(1, 2, 7.0, "validation")
    team.send(1, 3, 1.0)
    team.send(0, 3, 1.0)
    assert team.hears(0) == [
        (1, "train", 2.0), (1, "validation", 9.0), (2, "train", 2.0), (2, "validation", 7.0), (3, "train", 1.0)
    ]  # fmt: skip


def test_two_passes_at_one_step_are_two() -> None:
    team = Team()
    for rank in (0, 1):
        team.send(rank, 1, 1.0 + rank, "validation")
        team.send(rank, 1, 3.0 + rank, "validation")
        team.send(rank, 2, 0.0)
    assert team.hears(0) == [(1, "validation", 1.5), (1, "validation", 3.5), (2, "train", 0.0)]


def test_a_rank_that_stays_silent_is_left_behind_and_memory_stays_bounded() -> None:
    team = Team(3)
    for step in range(1, LAG + 4):
        team.send(0, step, 1.0)
        team.send(1, step, 3.0)
        heard = team.hears(0)
        team.hears(1)
    assert heard == [(LAG + 3, "train", 2.0)]
    assert team.ranks[0].lost == {2: f"it is {LAG} packets behind"} and len(team.told) == 1
    assert len(team.ranks[0]._streams[0].waiting) == 0
    assert len(team.store.data) <= 3 * LAG


def test_many_ranks_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team(12)
    for rank in range(12):
        assert team.hears(0) == []
        team.send(rank, 1, float(rank))
    asked: list[int] = []
    check = team.store.check

    def counted(keys: list[str]) -> bool:
        asked.append(len(keys))
        return check(keys)

    monkeypatch.setattr(team.store, "check", counted)
    assert team.hears(0) == [(1, "train", 5.5)]
    assert asked == [11]


def test_one_of_many_that_stays_silent_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SCAN_S", 0.0)
    team = Team(12)
    for step in range(1, LAG + 3):
        for rank in range(11):
            team.send(rank, step, 1.0)
        team.hears(0)
    assert team.ranks[0].lost.keys() == {11}


def test_a_rank_whose_packets_nobody_takes_stops_sending() -> None:
    team = Team()
    for step in range(1, 3 * LAG):
        team.send(1, step, 1.0)
    assert len(team.store.data) <= 2 * LAG + 1
    assert team.told == ["the exchange between processes: rank 0 took none of the last 128 packets of rank 1"]


def test_a_store_that_is_gone_ends_the_exchange_and_nothing_else() -> None:
    team = Team()
    team.store.dead = True
    team.send(1, 1, 1.0)
    team.send(1, 2, 1.0)
    assert team.hears(1) == [] and len(team.told) == 1
    assert list(team.ranks[1].finish()) == []


def test_a_rank_that_ended_early_is_not_waited_for() -> None:
    team = Team()
    team.send(0, 1, 1.0)
    team.send(1, 1, 3.0)
    team.ranks[1].send((), end=True)
    team.send(0, 2, 8.0)
    assert team.hears(0) == [(1, "train", 2.0), (2, "train", 8.0)]
    assert team.told == []


def test_the_end_waits_for_what_the_others_still_have_but_not_for_ever() -> None:
    team = Team()
    team.send(0, 1, 1.0)
    start = time.monotonic()
    assert seen(team.ranks[0].finish()) == [(1, "train", 1.0)]
    assert 0.05 <= time.monotonic() - start < 2
    assert team.ranks[0].lost.keys() == {1}
    assert seen(team.ranks[1].finish()) == [(1, "train", 1.0)]  # what rank 0 left


def test_both_ends_hear_all_and_leave_nothing_to_wait_for() -> None:
    team = Team()
    team.send(0, 1, 1.0)
    team.send(1, 1, 3.0)
    team.ranks[1].send((), end=True)
    assert seen(team.ranks[0].finish()) == [(1, "train", 2.0)]
    assert seen(team.ranks[1].finish()) == [(1, "train", 2.0)]
    assert team.told == []


def test_a_rank_that_breaks_hears_what_is_there_and_leaves() -> None:
    team = Team()
    team.send(1, 1, 3.0)
    assert list(team.ranks[1].finish(failed=True)) == []
    assert team.told == []


def test_rank_0_says_when_to_stop() -> None:
    team = Team()
    team.ranks[1].stop_at(5)
    assert team.ranks[1].stop_step is None
    team.ranks[0].stop_at(9)
    team.ranks[0].stop_at(12)
    team.hears(1)
    assert team.ranks[0].stop_step == team.ranks[1].stop_step == 9


def test_a_look_at_the_store_is_seldom_while_nothing_is_sent() -> None:
    team = Team()
    team.send(0, 1, 1.0)
    assert team.hears(1) == []
    team.store.dead = True
    assert team.ranks[1].received() == [] and team.told == []  # didn't look
