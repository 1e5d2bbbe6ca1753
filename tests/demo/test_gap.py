"""The gap that the demo's second part tells of is there, its advice narrows it, and the story says what happened."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")
pytest.importorskip("PIL")

from lightning_diag.demo import gap  # noqa: E402
from lightning_diag.demo.data import REAL, Digits, real_digits  # noqa: E402
from lightning_diag.demo.module import DigitClassifier  # noqa: E402
from lightning_diag.demo.rendering import HANDWRITTEN, PRINTED, synthetic_digits  # noqa: E402
from lightning_diag.demo.telling import Teller  # noqa: E402
from lightning_diag.demo.training import Plan, Result  # noqa: E402
from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose  # noqa: E402
from lightning_diag.finding import Finding, Severity  # noqa: E402


def _train(digits: Digits, steps: int = 250) -> DigitClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DigitClassifier()
        images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
        optimizer = model.configure_optimizers()
        for _ in range(steps):
            batch = torch.randint(len(labels), (64,))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    return model


def _accuracy(model: DigitClassifier, digits: Digits) -> float:
    with torch.no_grad():
        return float((model(torch.from_numpy(digits.images)).argmax(1).numpy() == digits.labels).mean())


@pytest.mark.slow
def test_printed_digits_leave_a_gap_that_a_nearer_look_narrows() -> None:
    real = real_digits()
    few = real["train"].take(20)
    printed = _train(few + synthetic_digits(2000, 0, PRINTED))
    nearer = _train(few + synthetic_digits(2000, 0, HANDWRITTEN))
    assert _accuracy(printed, synthetic_digits(500, 100, PRINTED)) > 0.95
    assert _accuracy(printed, real["val"]) < 0.65
    assert _accuracy(nearer, real["val"]) > _accuracy(printed, real["val"]) + 0.05


FOUND = Finding(
    "domains/gap", Severity.WARNING, 96, 2, ("real", "digit 4", "digit 1", "digit 7", "digit 9"), "a gap",
    evidence={"inputs": "contrast 0.373 against 0.167 (d = 6.9); mean 0.306 against 0.111 (d = 6.1)"},
    advice=("nearer, please", "label some", "never done"),
)  # fmt: skip
APART = Finding("domains/separable", Severity.WARNING, 96, 2, ("real",), "apart", evidence={"value": 0.987})
GAP = diagnose([FOUND, APART], Coverage(ran=("domains/gap",)))
LESS = diagnose([dataclasses.replace(FOUND, evidence={})], Coverage(ran=("domains/gap",)))
OTHER = diagnose([Finding("gradients/vanishing", Severity.CRITICAL, 9, 0, (), "lost"), FOUND])


def _tell(
    monkeypatch: pytest.MonkeyPatch, before: Diagnosis, wrong: tuple[int, int] = (200, 100)
) -> tuple[bool, str, list[Plan], list[Plan]]:
    """The story with trainings replaced: so many of the real validation digits come out wrong, before and after."""
    plans: list[Plan] = []
    alone: list[Plan] = []
    out = io.StringIO()

    def train(plan: Plan, folder: Path) -> Result:
        plans.append(plan)
        errors = wrong[len(plans) - 1]
        predicted = np.where(np.arange(len(plan.val)) < errors, (plan.val.labels + 1) % 10, plan.val.labels)
        diagnosis = before if len(plans) == 1 else LESS
        return Result(plan, diagnosis, predicted, 10, folder / plan.name, "CSV", folder / "csv", 1.0)

    def accuracy_alone(plan: Plan) -> float:
        alone.append(plan)
        return 0.5

    monkeypatch.setattr(gap, "train", train)
    monkeypatch.setattr(gap, "accuracy_alone", accuracy_alone)
    right, runs = gap.tell(Path("/tmp/demo"), 0, Teller(Console(file=out, width=200, highlight=False)))
    assert [run.plan for run in runs] == plans
    return right, out.getvalue(), plans, alone


def test_the_second_run_does_what_the_finding_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    right, text, (before, after), alone = _tell(monkeypatch, GAP)
    assert right
    real = [plan.train.only(np.flatnonzero(plan.train.domain == REAL)) for plan in (before, after)]
    assert [len(part) for part in real] == [gap.FEW, gap.DRAWN]  # half of the second run's
    images = {image.tobytes(): int(label) for image, label in zip(real[1].images, real[1].labels, strict=True)}
    had = {image.tobytes() for image in real[0].images}
    assert had < set(images)
    labelled = [label for image, label in images.items() if image not in had]
    assert len(labelled) == gap.MORE
    assert set(labelled) == {4, 1, 7}  # the first three classes the finding names
    assert "nearer, please" in text
    assert "label some" in text
    assert "never done" not in text
    assert len(before.train) // 64 * before.epochs == pytest.approx(len(after.train) // 64 * after.epochs, rel=0.1)
    assert [len(np.unique(plan.train.images, axis=0)) for plan in alone] == [gap.FEW + gap.MORE, gap.MANY]
    assert all((plan.train.domain == REAL).all() for plan in alone)


def test_no_validation_digit_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, plans, alone = _tell(monkeypatch, GAP)
    for plan in plans + alone:
        assert not {x.tobytes() for x in plan.train.images} & {x.tobytes() for x in plan.val.images}


def test_both_runs_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    _, text, (plan, _), _ = _tell(monkeypatch, GAP, (200, 100))
    rows = {line[:27].strip(): line[27:].split() for line in text.split("Side by side")[1].splitlines()}
    n = int((plan.val.domain == REAL).sum())
    stuck, advised = 100 * (1 - 200 / n), 100 * (1 - 100 / n)
    assert rows["right on real handwriting"] == [f"{stuck:.1f}", "%", f"{advised:.1f}", "%"]
    assert rows["right on held-out synthetic"] == ["100.0", "%", "100.0", "%"]
    assert rows["gap"] == [f"{100 - stuck:.1f}", "points", f"{100 - advised:.1f}", "points"]
    assert "contrast 0.373 / 0.167 (d = 6.9)" in text
    assert "AUC 0.99" in text
    assert "nothing found" in text  # of the second run
    assert f"worth {advised - 50:+.1f} points beside the same 40" in text


@pytest.mark.parametrize("diagnosis", [Diagnosis(), OTHER])
def test_it_ends_where_the_gap_is_not_named_first(monkeypatch: pytest.MonkeyPatch, diagnosis: Diagnosis) -> None:
    right, text, plans, _ = _tell(monkeypatch, diagnosis)
    assert not right
    assert len(plans) == 1
    assert "did not name the gap" in text


@pytest.mark.parametrize("after", [200, 300])
def test_advice_that_does_not_help_is_a_failure(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    right, _, plans, _ = _tell(monkeypatch, GAP, (200, after))
    assert not right
    assert len(plans) == 2


def test_more_digits_of_any_class_where_the_finding_names_none() -> None:
    digits = real_digits()["train"]
    bare = dataclasses.replace(FOUND, where=("real",))
    assert np.array_equal(gap.asked_for(bare, digits).images, digits.take(gap.MORE).images)
