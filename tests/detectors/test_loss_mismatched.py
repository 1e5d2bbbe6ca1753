from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from lightning_diag.detectors.loss_mismatched import SLIPS, LossMismatched
from lightning_diag.diagnosis import diagnose
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

NAMES = tuple(SLIPS)
FACTS = Facts(
    planned_steps=500, num_classes=10, names={"slip": NAMES, "candidate": ("cross-entropy", "mse")}, precision="32-true"
)


def run(
    slip: str | None = None, *, steps: int = 200, level: float = 2.2, own: float = 0.5, loss: float = 1.0,
    facts: Facts = FACTS, wrong_at: int = 0,
) -> list[Finding | None]:  # fmt: skip
    """Findings of a run that samples every 5th step; ``own`` is the relative difference to plain cross-entropy."""
    detector, found = LossMismatched(), list[Finding | None]()
    for step in range(1, steps + 1):
        values = {"loss/level": np.float64(level), "loss/train": np.float64(loss)}
        if step % 5 == 1:
            errors = np.array([1e-7 if name == slip and step != wrong_at else 0.3 for name in NAMES])
            values |= {"loss/slip": errors, "chance/error": np.array([own, np.nan])}
        found.append(detector.update(Reading(step, 0, values, facts)))
    return found


def first(found: list[Finding | None], severity: Severity) -> int | None:
    return next((i + 1 for i, f in enumerate(found) if f is not None and f.severity == severity), None)


@pytest.mark.parametrize("slip", ["likelihood of scores", "broadcast mse"])
def test_what_cannot_train_is_a_warning_at_the_third_sample(slip: str) -> None:
    assert first(run(slip), Severity.WARNING) == 11
    assert first(run(slip, wrong_at=11), Severity.WARNING) == 26  # one that disagrees starts the count anew


def test_a_softmax_too_many_is_a_note_until_the_run_suffers() -> None:
    slow = run("double softmax", level=2.2)
    assert (first(slow, Severity.INFO), first(slow, Severity.WARNING)) == (11, 125)
    floor = math.log(math.e + 9) - 1
    easy = run("double softmax", level=floor + 0.1)
    assert first(easy, Severity.INFO) == 11 and first(easy, Severity.WARNING) is None


def test_outputs_between_0_and_1_need_many_batches() -> None:
    found = run("sigmoids as scores", level=2.2, steps=300)
    assert first(found, Severity.INFO) is None, "they may leave that range yet"
    assert first(found, Severity.WARNING) == 250
    two = dataclasses.replace(FACTS, num_classes=2)
    assert not any(run("sigmoids as scores", level=0.69, steps=300, facts=two))
    assert any(run("sigmoids as logits", level=0.69, steps=300, facts=dataclasses.replace(FACTS, num_classes=None)))
    assert not any(run("sigmoids as scores", level=1.5))


def test_outputs_that_leave_0_and_1_were_no_sigmoids() -> None:
    assert not any(run("sigmoids as scores", level=2.2, steps=300, wrong_at=121))


def test_a_negated_loss_is_told_by_its_distance_to_itself() -> None:
    assert first(run(own=2.0, loss=-1.0), Severity.WARNING) == 11
    assert first(run(own=2.0, loss=1.0), Severity.WARNING) is None  # a third of it, say
    assert first(run(own=1.9, loss=-1.0), Severity.WARNING) is None


def test_silence_without_a_slip_and_not_judged_without_outputs() -> None:
    assert not any(run(own=1e-7))
    with pytest.raises(NotMeasurable, match="not found"):
        LossMismatched().update(Reading(1, 0, {"loss/level": np.float64(1.0)}, FACTS))


def test_it_is_the_root_of_what_follows() -> None:
    def said(rule: str, step: int) -> Finding:
        return Finding(rule, Severity.WARNING, step, 0, (), "...")

    slip = said("loss/mismatched", 11)
    causes = diagnose([slip, said("loss/not-learning", 60), said("updates/too-large", 40)]).causes
    assert [c.name for c in causes] == ["wrong-loss"]


def test_state_survives_a_checkpoint() -> None:
    one, other = LossMismatched(), LossMismatched()
    values = {"loss/slip": np.array([1e-7 if n == "double softmax" else 1.0 for n in NAMES]), "loss/level": 2.0}
    for step in (1, 2):
        assert one.update(Reading(step, 0, values, FACTS)) is None
    other.load_state_dict(one.state_dict())
    assert other.update(Reading(3, 0, values, FACTS)) is not None
