from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_diag import check, report
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import RecordError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.record import load
from lightning_diag.record.reader import FINDINGS, READINGS, RUN, SCHEMA
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.record import RecordSink

SPIKE = Finding("loss/spike", Severity.WARNING, 4, 0, (), "a spike", {"value": 9.0, "limit": 4.0}, ("look",))
WORSE = Finding("loss/diverging", Severity.CRITICAL, 5, 0, ("net.0",), "it diverges")
ENDED = Finding("loss/spike", Severity.WARNING, 4, 0, (), "a spike", status="resolved", last_step=5)


def write(path: Path, steps: range = range(1, 7), resumed: int | None = None) -> Path:
    """A whole record with readings of these steps."""
    sink = RecordSink()
    sink.open(RunInfo(path, "a-run", {"model": "Net"}, resumed))
    for step in steps:
        facts = Facts(planned_steps=100, names={"group": ("0", "1")} if step > 3 else {})
        sink.reading(Reading(step, 0, {"loss/train": 1.0 / step, "lr": np.array([0.1, np.nan])}, facts))
    for finding in (SPIKE, WORSE, ENDED):
        sink.finding(finding)
    sink.close(Diagnosis())
    return path


def test_everything_comes_back(tmp_path: Path) -> None:
    record = load(write(tmp_path))
    assert [r.step for r in record.readings()] == [1, 2, 3, 4, 5, 6]
    assert [len(r.facts.names) for r in record.readings()] == [0, 0, 0, 1, 1, 1]
    assert record.facts.names == {"group": ("0", "1")}
    assert [f.rule for f in record.events] == ["loss/spike", "loss/diverging", "loss/spike"]
    assert record.findings == [WORSE, ENDED]
    assert record.info["name"] == "a-run"
    assert record.info["meta"] == {"model": "Net"}
    assert record.info["last_step"] == 6
    assert record.diagnosis is not None
    assert record.diagnosis["verdict"] == Diagnosis().verdict
    assert (record.thinned, record.damaged) == (False, 0)


def test_readings_can_be_streamed_twice_and_by_path_string(tmp_path: Path) -> None:
    record = load(str(write(tmp_path)))
    assert [r.step for r in record.readings()] == [r.step for r in record.readings()]


@pytest.mark.parametrize("tail", [b'{"s":7,"e":0', b'{"s":7,"e":0,"b":0,"g":"tr\xc3', b"\x00" * 50])
@pytest.mark.parametrize("name", [READINGS, FINDINGS])
def test_a_torn_last_line_is_left_out_silently(tmp_path: Path, name: str, tail: bytes) -> None:
    with (write(tmp_path) / name).open("ab") as file:
        file.write(tail)
    record = load(tmp_path)
    assert len(list(record.readings())) == 6
    assert len(record.events) == 3
    assert record.damaged == 0


def test_a_damaged_line_in_the_middle_costs_only_itself_and_is_counted(tmp_path: Path) -> None:
    lines = (write(tmp_path) / READINGS).read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00\x00\n"
    (tmp_path / READINGS).write_bytes(b"".join(lines))
    record = load(tmp_path)
    for _ in range(2):
        assert [r.step for r in record.readings()] == [1, 3, 4, 5, 6]
        assert record.damaged == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"facts":{},"session":Infinity}',
        '{"facts":{},"session":[]}',
        '{"s":7,"e":0,"b":0,"g":"train","v":{"x":[1' + "0" * 400 + "]}}",
        '{"s":7,"e":0,"b":0,"g":"train"}',
        '{"s":7,"v":{}}',
    ],
)
def test_a_line_of_other_data_is_damaged(tmp_path: Path, line: str) -> None:
    with (write(tmp_path) / READINGS).open("a") as file:
        file.write(line + "\n")
    record = load(tmp_path)
    assert len(list(record.readings())) == 6
    assert record.damaged == (0 if line.endswith('"train"}') else 1), "without v it is a note of a newer version"


@pytest.mark.parametrize("name", [READINGS, FINDINGS])
def test_a_file_without_one_good_line_is_an_error(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).write_bytes(b"no\njson\n")
    with pytest.raises(RecordError, match=f"{name} is damaged"):
        list(load(tmp_path).readings())


def test_files_that_are_not_there_yet_are_empty(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / READINGS).unlink()
    (tmp_path / FINDINGS).unlink()
    assert list(load(tmp_path).readings()) == []
    assert load(tmp_path).findings == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[]", "damaged"),
        (b"{}", "names no schema"),
        (b'{"schema": "1"}', "schema can't be '1'"),
        (b'{"schema": 0}', "names no schema"),
        (b'{"schema": 2}', "update lightning-diag"),
        (b'{"schema": 1, "status": "odd"}', "status"),
        (b'{"schema": 1, "name": 3}', "name can't be"),
        (b'{"schema": 1, "diagnosis": []}', "diagnosis can't be"),
        (b'{"schema": 1, "facts": {"planned_steps": "x"}}', "planned_steps"),
        (b'{"schema": 1, "facts": {"names": {"group": "x"}}}', "names"),
        (b'{"schema": 1, "sessions": ["x"]}', "sessions"),
    ],
)
def test_a_run_file_that_is_none(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / RUN).write_bytes(content)
    with pytest.raises(RecordError, match=text):
        load(tmp_path)


def test_a_missing_directory_names_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere is not a run record"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [RUN, READINGS, FINDINGS])
def test_a_directory_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(RecordError, match="can't be read"):
        list(load(tmp_path).readings())


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    write(tmp_path)
    info = json.loads((tmp_path / RUN).read_text())
    info["new"] = info["facts"]["new"] = {"a": 1}
    (tmp_path / RUN).write_text(json.dumps(info))
    with (tmp_path / READINGS).open("a") as file:
        file.write('{"note":1}\n{"s":7,"e":0,"b":0,"g":"train","v":{"new/signal":1},"new":2}\n')
    with (tmp_path / FINDINGS).open("a") as file:
        file.write(json.dumps({**SPIKE.to_dict(), "new": 1}) + "\n")
    record = load(tmp_path)
    assert [r.step for r in record.readings()] == [1, 2, 3, 4, 5, 6, 7]
    assert (record.events[-1], record.damaged) == (SPIKE, 0)


def test_of_steps_measured_again_after_a_resume_the_later_count(tmp_path: Path) -> None:
    write(tmp_path, range(1, 7))
    write(tmp_path, range(4, 9), resumed=3)
    record = load(tmp_path)
    assert [r.step for r in record.readings()] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert record.info["sessions"] == [1, 4]
    assert len(record.events) == 3, "the first session's findings lie after step 3 and are made again"


def test_a_resume_keeps_earlier_findings(tmp_path: Path) -> None:
    write(tmp_path, range(1, 7))
    write(tmp_path, range(6, 9), resumed=5)
    assert len(load(tmp_path).events) == 6


def test_a_resume_long_after_the_checkpoint_hides_what_was_measured_after_it(tmp_path: Path) -> None:
    write(tmp_path, range(1, 7))
    write(tmp_path, range(9, 11), resumed=4)  # nothing was measured between 5 and 8 this time
    assert [r.step for r in load(tmp_path).readings()] == [1, 2, 3, 4, 9, 10]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schema", "s", "e", "b", "g", "v", "facts", "session", "names", "rule", "where", "x"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def outcome(path: Path) -> str:
    """Read everything; only RecordError may come out."""
    try:
        record = load(path)
        for reading in record.readings():
            assert isinstance(reading.facts.planned_steps, (int, type(None)))
            _ = reading.progress
        assert all(isinstance(place, str) for finding in record.findings for place in finding.where)
    except RecordError:
        return "refused"
    return "read"


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


@FUZZ
@given(name=st.sampled_from([RUN, READINGS, FINDINGS]), content=st.binary(max_size=200))
def test_fuzzed_bytes_never_raise_anything_else(tmp_path: Path, name: str, content: bytes) -> None:
    write_once(tmp_path)
    (tmp_path / name).write_bytes(content)
    outcome(tmp_path)


@FUZZ
@given(name=st.sampled_from([RUN, READINGS, FINDINGS]), data=st.data())
def test_fuzzed_entries_never_raise_anything_else(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """A good file in which some entries, also nested ones, hold other JSON."""
    good = write_once(tmp_path)[name]
    lines = [json.loads(line) for line in good.splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        node: Any = lines[data.draw(st.integers(0, len(lines) - 1))]
        while True:
            key = data.draw(st.sampled_from(sorted(node)))
            if not (isinstance(node[key], dict) and node[key] and data.draw(st.booleans())):
                break
            node = node[key]
        node[key] = data.draw(JSON)
    (tmp_path / name).write_text("\n".join(map(json.dumps, lines)) + "\n")
    outcome(tmp_path)


@FUZZ
@given(name=st.sampled_from([READINGS, FINDINGS]), lines=st.lists(JSON, max_size=4))
def test_fuzzed_lines_never_raise_anything_else(tmp_path: Path, name: str, lines: list[Any]) -> None:
    good = write_once(tmp_path)[name]
    (tmp_path / name).write_bytes(good + "".join(json.dumps(line) + "\n" for line in lines).encode())
    assert outcome(tmp_path) == "read"


_GOOD: dict[str, bytes] = {}


def write_once(path: Path) -> dict[str, bytes]:
    """Put a good record into the directory (made only once) and return its files."""
    if not _GOOD:
        write(path)
        _GOOD.update({name: (path / name).read_bytes() for name in (RUN, READINGS, FINDINGS)})
    for name, content in _GOOD.items():
        (path / name).write_bytes(content)
    return _GOOD


def test_the_good_record_of_the_fuzz_tests_is_read(tmp_path: Path) -> None:
    write_once(tmp_path)
    assert outcome(tmp_path) == "read"
    assert load(tmp_path).info["schema"] == SCHEMA


def whole(path: Path) -> None:
    """What people do with a record: read it, judge it, draw it. Only RecordError may come out."""
    try:
        check(path)
        report.write(path)
    except RecordError:
        pass


@FUZZ
@given(
    name=st.sampled_from([RUN, READINGS, FINDINGS]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, name: str, flips: list[tuple[float, int]]) -> None:
    content = bytearray(write_once(tmp_path)[name])
    for place, byte in flips:
        content[int(place * len(content))] = byte
    (tmp_path / name).write_bytes(content)
    outcome(tmp_path)


@pytest.mark.parametrize("name", [RUN, READINGS, FINDINGS])
def test_a_file_cut_anywhere_never_raises_anything_else(tmp_path: Path, name: str) -> None:
    good = write_once(tmp_path)[name]
    for size in [*range(0, len(good), 5), len(good) - 1]:
        (tmp_path / name).write_bytes(good[:size])
        assert outcome(tmp_path) == ("refused" if name == RUN and size < len(good) - 1 else "read"), size


@pytest.mark.parametrize("depth", [40, 900, 100_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
@pytest.mark.parametrize("name", [RUN, READINGS, FINDINGS])
def test_deep_nesting_never_raises_anything_else(tmp_path: Path, name: str, brackets: str, depth: int) -> None:
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    nested = opening * depth + "1" + closing * depth
    lines = write_once(tmp_path)[name].decode().splitlines()
    for key in re.findall(r'"(\w+)":', lines[-1]):
        entry = json.loads(lines[-1])
        if key not in entry:
            continue
        entry[key] = "NESTED"
        text = json.dumps(entry).replace('"NESTED"', nested)
        (tmp_path / name).write_text("\n".join([*lines[:-1], text]) + "\n")
        outcome(tmp_path)
        whole(tmp_path)
