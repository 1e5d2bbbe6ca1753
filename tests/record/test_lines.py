from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lightning_diag.reading import Facts, Reading
from lightning_diag.record.lines import decode, encode, encode_object, jsonable, step_of, stored, to_facts, to_reading
from lightning_diag.signals import SIGNALS

FLOAT32 = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))


def round_trip(values: dict[str, Any]) -> Reading:
    return to_reading(decode(encode(Reading(7, 2, values, batch_idx=3))), Facts())


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Equal with the sign of zero; any NaN equals any other."""
    return a.shape == b.shape and bool(
        np.all((np.isnan(a) & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b))))
    )


@given(FLOAT32)
@example(np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -3.4028235e38, 16777216.0, 0.1], np.float32))
def test_any_float32_array_comes_back_as_it_was(array: NDArray[np.float32]) -> None:
    back = round_trip({"grad/parameter_norm": array.astype(np.float64)}).values["grad/parameter_norm"]
    assert back.dtype == np.float64
    assert same(back, array.astype(np.float64))


@given(st.floats(width=32))
@example(-0.0)
def test_any_float32_scalar_comes_back_as_it_was(number: float) -> None:
    for value in (number, np.float64(number), np.float32(number), np.array(number)):
        back = round_trip({"loss/train": value}).values["loss/train"]
        assert isinstance(back, np.float64)
        assert same(np.array(back), np.array(number))


def test_a_finite_number_beyond_float32_stays_finite() -> None:
    reading = round_trip({"loss/train": 1e300, "lr": np.array([1e300, 1.0])})
    assert reading.values["loss/train"] == 1e300
    assert reading.values["lr"].tolist() == [1e300, 1.0]


def test_empty_and_integer_arrays() -> None:
    reading = round_trip({"lr": np.array([]), "grad/missing": np.array([0, 1]), "val/samples": 12})
    assert reading.values["lr"].shape == (0,)
    assert reading.values["grad/missing"].tolist() == [0.0, 1.0]
    assert reading.scalar("val/samples") == 12.0


def test_whole_numbers_are_written_short() -> None:
    assert b'"grad/missing":[0,1,0]' in encode(Reading(1, 0, {"grad/missing": np.array([0.0, 1.0, 0.0])}))


def test_step_epoch_batch_and_stage_come_back() -> None:
    reading = to_reading(decode(encode(Reading(5, 1, {}, batch_idx=4, stage="validation"))), Facts())
    assert (reading.step, reading.epoch, reading.batch_idx, reading.stage) == (5, 1, 4, "validation")


def test_only_the_hosts_signals_are_left_out() -> None:
    line = encode(Reading(1, 0, dict.fromkeys(SIGNALS, 1.0)))
    once = ("run/ended", "domain/named")  # nothing else in a record gives them back
    host = {n for n, s in SIGNALS.items() if s.merge == "host" and n not in once and not n.startswith("system/")}
    assert host  # the table has such signals
    assert set(decode(line)["v"]) == set(SIGNALS) - host
    assert {n for n in SIGNALS if not stored(n)} == host


@given(st.text(), st.text())
def test_lines_are_one_line_of_ascii(name: str, stage: str) -> None:
    for line in (encode(Reading(1, 0, {name: 1.0}, stage=stage)), encode_object({name: stage})):
        assert line.isascii()
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")


@given(st.integers(-(10**6), 10**12))
def test_step_is_read_without_parsing(step: int) -> None:
    assert step_of(encode(Reading(step, 0, {}))) == step
    assert step_of(b'{"facts":{}}\n') is None
    assert step_of(b'{"s":1') is None


def test_facts_come_back() -> None:
    facts = Facts(planned_steps=9, names={"group": ("0", "é\ud800")}, in_optimizer=(True, False), chance_loss=2.3)
    assert to_facts(decode(encode_object({"facts": facts.to_dict()}))["facts"]) == facts


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"3",
        b"{",
        b"\xff\xfe{}",
        b'{"s":1,"e":0,"b":0,"g":"tr',
        b'{"s":"\xc3',
        b"[" * 100_000,
        b'{"s":' + b"9" * 5000 + b"}",
    ],
)
def test_decode_refuses_what_is_no_object(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are the json module's
        decode(line)


@pytest.mark.parametrize(
    "change",
    [
        {"s": "1"},
        {"s": 1.5},
        {"s": True},
        {"s": 2**70},
        {"b": None},
        {"g": 3},
        {"v": []},
        {"v": {"x": "1"}},
        {"v": {"x": None}},
        {"v": {"x": True}},
        {"v": {"x": 10**400}},
        {"v": {"x": [[1], [1, 2]]}},
        {"v": {"x": ["a"]}},
    ],
)
def test_to_reading_refuses_other_types(change: dict[str, Any]) -> None:
    good = {"s": 1, "e": 0, "b": 0, "g": "train", "v": {"x": 1.0}}
    assert to_reading(good, Facts()).step == 1
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        to_reading({**good, **change}, Facts())


def test_jsonable_unpacks_numpy_and_hides_what_it_does_not_know() -> None:
    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    made = jsonable({1: np.float32(0.5), "a": np.arange(2), "s": {"y", "x"}, "o": Secret(), "n": math.nan})
    assert made.pop("n") != made.get("n")
    assert made == {"1": 0.5, "a": [0, 1], "s": ["x", "y"], "o": "<Secret>"}
    assert json.loads(encode_object(made)) == made
