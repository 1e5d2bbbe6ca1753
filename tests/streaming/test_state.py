from __future__ import annotations

import copy
import json
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.streaming import SortedWindow, restore, snapshot

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Thing:
    """Something with every kind of state."""

    def __init__(self) -> None:
        self.number: Any = 0
        self.plain: Any = None
        self.queue: deque[float] = deque(maxlen=3)
        self.array = np.zeros(0)
        self.counts = np.zeros(2, np.int64)
        self.seen: set[str] = set()
        self.pair: tuple[float, ...] = ()
        self.window = SortedWindow(3)


def filled(plain: Any) -> Thing:
    thing = Thing()
    thing.number, thing.plain, thing.pair = np.float64(1.5), plain, (1.0, 2.0)
    thing.queue.extend([1.0, 2.0, 3.0, 4.0])
    thing.array, thing.counts = np.array([0.5, np.inf]), np.array([3, 4])
    thing.seen.update("ba")
    thing.window.push(2.0)
    return thing


@given(PLAIN)
def test_everything_comes_back_through_json_with_its_type(plain: Any) -> None:
    thing, back = filled(plain), Thing()
    state = json.loads(json.dumps(snapshot(thing)))
    before = copy.deepcopy(state)
    restore(back, state)
    assert state == before, "restoring must leave its argument alone"
    assert back.plain == plain and back.number == 1.5 and back.pair == (1.0, 2.0) and back.seen == {"a", "b"}
    assert type(back.queue) is deque and back.queue.maxlen == 3 and list(back.queue) == [2.0, 3.0, 4.0]
    assert back.counts.dtype == np.int64 and back.counts.tolist() == [3, 4] and back.array.tolist() == [0.5, np.inf]
    assert type(back.window) is SortedWindow and back.window.median() == 2.0
    assert snapshot(back) == snapshot(thing)


def test_a_snapshot_and_a_restored_object_share_nothing() -> None:
    thing, back = filled([1, {"a": [2]}]), Thing()
    state = snapshot(thing)
    thing.plain[1]["a"].append(3)
    assert state["plain"] == [1, {"a": [2]}]
    restore(back, state)
    back.plain[1]["a"].append(4)
    assert state["plain"] == [1, {"a": [2]}]


def test_skipped_unknown_and_missing_names() -> None:
    thing = filled(None)
    assert "number" not in snapshot(thing, skip=frozenset({"number"}))
    restore(thing, {"of_a_newer_version": 1, "plain": "new"})
    assert thing.plain == "new" and thing.number == 1.5 and not hasattr(thing, "of_a_newer_version")


def test_sets_are_sorted_so_that_equal_states_are_equal_text() -> None:
    thing = Thing()
    thing.seen.update(["c", "a", "b"])
    assert snapshot(thing)["seen"] == ["a", "b", "c"]


def test_what_is_no_plain_data_is_refused() -> None:
    thing = Thing()
    thing.plain = object()
    with pytest.raises(TypeError, match="object is not plain data"):
        snapshot(thing)
