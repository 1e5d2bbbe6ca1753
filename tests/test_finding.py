from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.finding import STATUSES, Finding, Severity


def finding(**changes: Any) -> Finding:
    given: dict[str, Any] = {
        "rule": "gradients/vanishing",
        "severity": Severity.WARNING,
        "step": 41,
        "epoch": 2,
        "where": ("net.0.weight", "net.2.weight"),
        "message": "norm 1e-9 is below 1e-6",
        "evidence": {"value": 1e-9, "limit": 1e-6, "layers": 2, "kind": "matrix"},
        "advice": ("first this", "then that"),
    }
    return Finding(**{**given, **changes})


findings = st.builds(
    Finding,
    rule=st.from_regex(r"[a-z]{1,8}/[a-z]{1,8}", fullmatch=True),
    severity=st.sampled_from(Severity),
    step=st.integers(0, 10**9),
    epoch=st.integers(0, 10**6),
    where=st.lists(st.text(), max_size=3).map(tuple),
    message=st.text(),
    evidence=st.dictionaries(st.text(), st.one_of(st.floats(), st.integers(), st.text(), st.booleans()), max_size=4),
    advice=st.lists(st.text(), max_size=3).map(tuple),
    status=st.sampled_from(STATUSES),
    first_step=st.integers(-1, 10**9),
    last_step=st.integers(-1, 10**9),
    count=st.integers(1, 10**9),
)


@given(findings)
def test_json_round_trip_loses_nothing(found: Finding) -> None:
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Finding.from_dict(json.loads(text)) == found


@given(findings)
def test_pickle_and_copy_round_trip(found: Finding) -> None:
    assert pickle.loads(pickle.dumps(found)) == found
    assert copy.deepcopy(found) == found
    assert hash(copy.copy(found)) == hash(found)


def test_it_is_frozen_and_so_is_its_evidence() -> None:
    found = finding()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.step = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.evidence["value"] = 0  # type: ignore[index]


def test_evidence_is_copied_from_the_caller() -> None:
    numbers: dict[str, float | int | str] = {"value": 1.0}
    found = finding(evidence=numbers)
    numbers["value"] = 2.0
    assert found.evidence["value"] == 1.0


def test_numpy_numbers_become_plain_and_non_finite_ones_become_words() -> None:
    evidence = {"f": np.float32(0.5), "i": np.int64(7), "b": np.bool_(True), "n": np.float64("nan"), "m": -np.inf}
    found = finding(step=np.int64(3), epoch=np.int32(1), first_step=np.int64(2), count=np.int64(4), evidence=evidence)
    assert dict(found.evidence) == {"f": 0.5, "i": 7, "b": 1, "n": "nan", "m": "-inf"}
    assert json.loads(json.dumps(found.to_dict()))["first_step"] == 2


def test_steps_default_to_the_step_of_the_finding() -> None:
    assert (finding().first_step, finding().last_step, finding().count) == (41, 41, 1)
    assert (finding(first_step=0, last_step=50).first_step, finding(first_step=0, last_step=50).last_step) == (0, 50)


@pytest.mark.parametrize("rule", ["vanishing", "/vanishing", "gradients/", ""])
def test_a_rule_needs_a_group_and_a_name(rule: str) -> None:
    with pytest.raises(ValueError, match="rule must look like 'group/name'"):
        finding(rule=rule)


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="status must be one of"):
        finding(status="closed")


def test_unknown_keys_of_a_newer_version_are_ignored_and_optional_ones_may_be_missing() -> None:
    data = finding().to_dict()
    data["mood"] = "bad"
    for optional in ("advice", "evidence", "status", "first_step", "last_step", "count"):
        del data[optional]
    assert Finding.from_dict(data) == finding(advice=(), evidence={})


@pytest.mark.parametrize("given", ["warning", "WARNING", "Warning", 1, Severity.WARNING])
def test_severity_is_parsed_from_names_and_numbers(given: str | int) -> None:
    assert Severity.parse(given) is Severity.WARNING


def test_an_unknown_severity_names_the_accepted_ones() -> None:
    with pytest.raises(ValueError, match=r"one of \['info', 'warning', 'critical'\], got 'fatal'"):
        Severity.parse("fatal")
    with pytest.raises(ValueError, match="7"):
        Severity.parse(7)
