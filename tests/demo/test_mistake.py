"""What the story says and returns, by what the diagnosis found; trainings are replaced by what they would give."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lightning_diag.demo import mistake
from lightning_diag.demo.telling import Teller
from lightning_diag.demo.training import Plan, Result
from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding, Severity

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

RAN = Coverage(ran=("updates/too-large", "loss/spike"))
FINE = Diagnosis(coverage=RAN)
RIGHT = diagnose([Finding("updates/too-large", Severity.CRITICAL, 20, 0, ("head.weight",), "too large")], RAN)
WRONG = diagnose([Finding("gradients/vanishing", Severity.WARNING, 20, 0, ("head.weight",), "too small")], RAN)
NOTHING = Diagnosis()


def _run(monkeypatch: pytest.MonkeyPatch, healthy: Diagnosis, mistaken: Diagnosis) -> tuple[bool, str, list[Plan]]:
    plans: list[Plan] = []
    out = io.StringIO()

    def train(plan: Plan, folder: Path) -> Result:
        plans.append(plan)
        diagnosis = healthy if plan.name == "healthy" else mistaken
        if plan.name == "mistaken":
            assert "lr" not in out.getvalue()  # nobody is told before it was found
            assert "rate" not in out.getvalue()
        return Result(plan, diagnosis, plan.val.labels, 10, folder / plan.name, "CSV", folder / "csv", 1.0)

    monkeypatch.setattr(mistake, "train", train)
    right, runs = mistake.tell(Path("/tmp/demo"), 0, Teller(Console(file=out, width=200, highlight=False)))
    assert [run.plan for run in runs] == plans
    return right, out.getvalue(), plans


def test_right_about_both(monkeypatch: pytest.MonkeyPatch) -> None:
    right, text, plans = _run(monkeypatch, FINE, RIGHT)
    assert right
    assert text.index("What we had done") < text.index("lr=2e-1") < text.index("The diagnosis found it.")
    healthy, mistaken = plans
    assert dataclasses.replace(mistaken, name=healthy.name, lr=healthy.lr) == healthy  # one thing differs
    assert mistaken.lr == mistake.WRONG_LR != healthy.lr


@pytest.mark.parametrize(
    ("healthy", "mistaken", "says"),
    [
        (FINE, WRONG, "did not find it"),
        (FINE, FINE, "did not find it"),
        (RIGHT, RIGHT, "not quiet about the healthy run"),
        (NOTHING, RIGHT, "not quiet about the healthy run"),
    ],
)
def test_wrong_is_said_and_returned(monkeypatch: pytest.MonkeyPatch, healthy: Any, mistaken: Any, says: str) -> None:
    right, text, _ = _run(monkeypatch, healthy, mistaken)
    assert not right
    assert says in text
