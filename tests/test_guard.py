from __future__ import annotations

import pytest

from lightning_diag._guard import Guard


def test_a_part_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard()
    for text in ("first", "second"):
        guard.tell("GradientMonitor", ValueError(text))
    assert guard.failed == {"GradientMonitor": "ValueError: first"}
    assert len(caplog.records) == 1 and "GradientMonitor" in caplog.messages[0]


def test_strict_raises() -> None:
    with pytest.raises(ValueError, match="mine"):
        Guard(strict=True).tell("part", ValueError("mine"))
