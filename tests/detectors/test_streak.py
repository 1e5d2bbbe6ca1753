from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.detectors._streak import Streak, least_steps
from lightning_diag.reading import Facts, Reading


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_equals_a_slow_count(samples: list[tuple[bool, bool]]) -> None:
    streak = Streak()
    since = count = 0
    for i, (holds, known) in enumerate(samples):
        streak.see(10 * i, np.array([holds]), np.array([known]))
        if known:
            since = 10 * i if holds and count == 0 else since
            count = count + 1 if holds else 0
        assert streak.count[0] == count
        assert count == 0 or streak.since[0] == since


def test_lasting_needs_samples_and_steps() -> None:
    streak = Streak()
    for step in (1, 101):
        streak.see(step, np.array([True, step > 1]))
    assert streak.lasting(101, samples=2, steps=101).tolist() == [True, False]
    assert streak.lasting(101, samples=2, steps=102).tolist() == [False, False]
    assert streak.lasting(101, samples=1, steps=1).tolist() == [True, True]


def test_resumes() -> None:
    streak, copy = Streak(), Streak()
    streak.see(3, np.array([True, False]))
    copy.load_state_dict(json.loads(json.dumps(streak.state_dict())))
    copy.see(5, np.array([True, True]))
    assert copy.count.tolist() == [2, 1]
    assert copy.since.tolist() == [3, 5]


def test_least_steps() -> None:
    def of(planned: int | None, epoch: int | None) -> int:
        return least_steps(200, Reading(1, 0, {}, Facts(planned_steps=planned, steps_per_epoch=epoch)))

    assert (of(None, None), of(10**6, 30), of(400, 1000), of(10**6, 10**4)) == (200, 30, 100, 200)
