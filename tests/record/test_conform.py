from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts
from lightning_diag.record.conform import conform, fits


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (2**63, int, False),
        (1, float, True),
        (10**400, float, False),
        (float("nan"), float, True),
        ("1", float, False),
        (None, int | None, True),
        ("x", int | None, False),
        (["a", "b"], tuple[str, ...], True),
        ("ab", tuple[str, ...], False),
        (["a", 1], tuple[str, ...], False),
        ({"a": ["b"]}, Mapping[str, tuple[str, ...]], True),
        ({"a": "b"}, Mapping[str, tuple[str, ...]], False),
        ([], dict[str, Any], False),
        (object(), Any, True),
    ],
)
def test_fits(value: Any, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_everything_the_package_writes_conforms() -> None:
    facts = Facts(names={"group": ("0",)}, in_optimizer=(True,), chance_loss=1.0, unmeasured={"lr": "no optimizer"})
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in facts.to_dict().items()}
    as_json["names"] = {"group": ["0"]}
    assert conform(as_json, Facts) is as_json
    finding = Finding("a/b", Severity.WARNING, 1, 0, ("x",), "m", {"value": float("inf"), "n": 3}, ("try",)).to_dict()
    assert conform(finding, Finding) is finding


def test_the_message_names_the_entry_and_stays_short() -> None:
    with pytest.raises(ValueError, match=r"^planned_steps can't be 'x{20}"):
        conform({"planned_steps": "x" * 10_000}, Facts)
